//! With the real container agent against the built Worker: the main path, every way an execution ends, its limits,
//! the queue, the watchers, and the two protocols that a container agent speaks.

#[cfg(test)]
mod appending;
#[cfg(test)]
mod back_pressure;
#[cfg(test)]
mod cancel;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod queue;
#[cfg(test)]
mod reconciler;
#[cfg(test)]
mod watchers;
#[cfg(test)]
mod whole_path;
