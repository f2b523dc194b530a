"""A peer of Debian's python3-websockets, on either side of the gateway.

    python3 peer.py server       listens, prints "listening PORT"
    python3 peer.py client URL   talks through all that a WebSocket can do, prints "ok"
    python3 peer.py stay URL     prints "open", waits, and prints "closed CODE" at the end

What it cannot do it says on standard error, and ends with 1.
"""

import asyncio
import os
import ssl
import sys

import websockets

MOST_PAYLOAD = 64 << 20


def say(*words):
    print(*words, flush=True)


def check(is_so, why):
    if not is_so:
        raise AssertionError(why)


async def serve(ws):
    """Answers what a client of any kind asks for."""
    say("open", ",".join(e.name for e in ws.extensions))
    pings = set()
    try:
        async for message in ws:
            text = message if isinstance(message, str) else ""
            if text == "ping me":

                async def ping():
                    await (await ws.ping(b"are you there"))
                    await ws.send("ponged are you there")

                pings.add(asyncio.ensure_future(ping()))
            elif text.startswith("push "):
                for i in range(int(text[5:])):
                    await ws.send("push %d" % i)
            elif text.startswith("close "):
                _, code, reason = text.split(" ")
                await ws.close(int(code), reason)
            else:
                await ws.send(message)
    except websockets.ConnectionClosed:
        pass
    say("closed", ws.close_code)


async def server():
    async with websockets.serve(serve, "127.0.0.1", 0, max_size=MOST_PAYLOAD, ping_interval=None) as s:
        say("listening", s.sockets[0].getsockname()[1])
        await asyncio.Future()


def connect(url):
    secure = None
    if url.startswith("wss:"):
        secure = ssl.create_default_context()
        secure.check_hostname = False
        secure.verify_mode = ssl.CERT_NONE
    return websockets.connect(url, ssl=secure, max_size=MOST_PAYLOAD, ping_interval=None)


async def echo(ws, message):
    await ws.send(message)
    got = await ws.recv()
    check(got == message, "a message of %d came back as another one" % len(message))


async def closed(ws):
    try:
        await ws.recv()
    except websockets.ConnectionClosed:
        return ws.close_code, ws.close_reason
    raise AssertionError("a message where the end was to come")


async def client(url):
    ws = await connect(url)
    check([e.name for e in ws.extensions] == ["permessage-deflate"], "no permessage-deflate but %s" % ws.extensions)
    await echo(ws, "hello")
    await echo(ws, "")
    await echo(ws, "gr\u00fc\u00dfe " * 400000)
    await echo(ws, os.urandom(5 << 20))
    await echo(ws, bytes(8 << 20))
    for i in range(200):
        await echo(ws, "message %d" % i)

    await (await ws.ping(b"hello"))
    await ws.send("ping me")
    check(await ws.recv() == "ponged are you there", "our pong did not arrive")

    await ws.send("push 1000")
    for i in range(1000):
        got = await ws.recv()
        check(got == "push %d" % i, "%s where %d was to come" % (got, i))

    await ws.send("close 4321 enough")
    end = await closed(ws)
    check(end == (4321, "enough"), "the origin's code came as %s %s" % end)

    ws = await connect(url)
    await ws.close(4001, "mine")
    check(ws.close_code == 4001, "our own code was answered with %d" % ws.close_code)
    say("ok")


async def stay(url):
    ws = await connect(url)
    await echo(ws, "hello")
    say("open")
    code, _ = await closed(ws)
    say("closed", code)


asyncio.run({"server": server, "client": client, "stay": stay}[sys.argv[1]](*sys.argv[2:]))
