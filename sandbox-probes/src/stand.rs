//! The host's side: what a sandbox must not reach, made by a process that is itself something to find (the test starts
//! it under the victim's name, with the secret in its environment). All of it goes when its input ends.

use std::fs;
use std::io::{self, Read};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;

use crate::call::{call, int, open_call, text};
use crate::outside::Outside;

/// Prints the loopback's port and the terminal in one line, then waits.
pub fn stand(outside: &Outside) -> io::Result<()> {
    let made = Made::make(outside)?;
    println!("{} {}", made.port, made.terminal.display());
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Undone when dropped.
struct Made {
    port: u16,
    terminal: PathBuf,
    _held: (TcpListener, Vec<UnixListener>, OwnedFd),
    files: Vec<PathBuf>,
    /// How each is removed: call, then its arguments.
    objects: Vec<(libc::c_long, [usize; 3])>,
    queue: std::ffi::CString,
}

impl Made {
    fn make(outside: &Outside) -> io::Result<Self> {
        // 1. Listeners of every kind.
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        let sockets = vec![
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(outside.name())?)?,
            UnixListener::bind(outside.host_socket())?,
            UnixListener::bind(outside.bound_socket())?,
        ];
        // Whoever may look it up may connect; the second stays as it was made, as services leave theirs.
        fs::set_permissions(outside.host_socket(), fs::Permissions::from_mode(0o777))?;
        // 2. Files that everybody may read and write.
        let files = [outside.temporary_file(), outside.shared_memory_file(), outside.bound_file()];
        for file in &files {
            fs::write(file, outside.secret())?;
            fs::set_permissions(file, fs::Permissions::from_mode(0o666))?;
        }
        // 3. This program with the setuid bit.
        fs::copy("/proc/self/exe", outside.setuid_program())?;
        fs::set_permissions(outside.setuid_program(), fs::Permissions::from_mode(0o4755))?;
        // 4. A terminal.
        let (terminal_fd, terminal) = crate::probes::new_terminal()?;
        // 5. Memory, messages and semaphores, open to everybody.
        let create = libc::IPC_CREAT | 0o666;
        let mut objects = Vec::new();
        let (key, remove) = (outside.key(), int(libc::IPC_RMID));
        let id = call(libc::SYS_shmget, &[key, 4_096, int(create)])?;
        objects.push((libc::SYS_shmctl, [id as usize, remove, 0]));
        let id = call(libc::SYS_msgget, &[key, int(create)])?;
        objects.push((libc::SYS_msgctl, [id as usize, remove, 0]));
        let id = call(libc::SYS_semget, &[key, 1, int(create)])?;
        objects.push((libc::SYS_semctl, [id as usize, 0, remove]));
        let queue = std::ffi::CString::new(outside.name())?;
        open_call(libc::SYS_mq_open, &[text(&queue), int(libc::O_RDWR | libc::O_CREAT), 0o666, 0])?;
        let files = [outside.host_socket(), outside.bound_socket(), outside.setuid_program()]
            .into_iter()
            .chain(files)
            .collect();
        let port = tcp.local_addr()?.port();
        Ok(Self { port, terminal, _held: (tcp, sockets, terminal_fd), files, objects, queue })
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
        for (number, arguments) in &self.objects {
            let _ = call(*number, arguments);
        }
        let _ = call(libc::SYS_mq_unlink, &[text(&self.queue)]);
    }
}
