// What it is posted, `{ method, argument }`, it asks over RPC and passes on.

export default {
  async fetch(request, env) {
    if (request.method === "GET") {
      return new Response("ready");
    }
    const { method, argument } = await request.json();
    try {
      return Response.json(await env.PATCH_OPS[method](argument));
    } catch (error) {
      return Response.json({ thrown: `${error}` }, { status: 500 });
    }
  },
};
