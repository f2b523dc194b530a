// A peer of npm's ws, on either side of the gateway.
//
//	node peer.js server                         listens, prints "listening PORT"; HTTP/1.1
//	node peer.js h2server                       the same for HTTP/2 without TLS (RFC 8441)
//	node peer.js client URL                     talks through all that a WebSocket can do, prints "ok"
//	node peer.js h2client ORIGIN PATH HOST      the same over HTTP/2
//	node peer.js stay URL                       prints "open", waits, and prints "closed CODE" at the end
//	node peer.js h2stay ORIGIN PATH HOST        the same over HTTP/2
//
// What it cannot do it says on standard error, and ends with 1.
'use strict';

const http2 = require('node:http2');
const crypto = require('node:crypto');
const { once } = require('node:events');
const { createRequire } = require('node:module');
const WebSocket = createRequire(process.cwd() + '/')('ws');

const mostPayload = 64 << 20;
const deflate = { threshold: 0 };

function say(...words) {
	process.stdout.write(words.join(' ') + '\n');
}

function fail(why) {
	process.stderr.write(`${why}\n`);
	process.exit(1);
}

function check(is, why) {
	if (!is) throw new Error(why);
}

// Overstream is a WebSocket over a stream of HTTP/2, on which the handshake is over.
class Overstream extends WebSocket {
	constructor(stream, server, negotiated) {
		super(null, undefined, { autoPong: true });
		this._isServer = server;
		if (negotiated) {
			const extension = new WebSocket.PerMessageDeflate(deflate, server, mostPayload);
			extension.accept([{}]);
			this._extensions[WebSocket.PerMessageDeflate.extensionName] = extension;
		}
		// A client of ws leaves the end to the server, and a stream of node is over for both when its server
		// ends: so the client ends first, when it has seen the Close frame.
		const end = stream.end.bind(stream);
		if (server) stream.end = () => (stream.readableEnded ? end() : stream.once('end', () => end()));
		this.setSocket(stream, Buffer.alloc(0), {
			allowSynchronousEvents: true, maxPayload: mostPayload, maxFragments: 0, maxBufferedChunks: 0, skipUTF8Validation: false,
		});
		if (!server) this._receiver.on('conclude', () => setImmediate(end));
		// The end that counts is the Close frame: what node makes of the stream behind it is another matter.
		let over = false;
		const conclude = (code, reason) => {
			if (!over) this.emit('over', code, reason);
			over = true;
		};
		this._receiver.on('conclude', conclude);
		this.on('close', conclude);
	}
}

// end is the event of a WebSocket's end.
function end(ws) {
	return ws instanceof Overstream ? 'over' : 'close';
}

// serve answers what a client of any kind asks for.
function serve(ws) {
	ws.on('error', (e) => say('error', e.message));
	ws.on(end(ws), (code) => say('closed', code));
	ws.on('message', (data, binary) => {
		const text = binary ? '' : data.toString();
		if (text === 'ping me') {
			ws.once('pong', (payload) => ws.send('ponged ' + payload));
			ws.ping('are you there');
		} else if (text.startsWith('push ')) {
			for (let i = 0; i < Number(text.slice(5)); i++) ws.send('push ' + i);
		} else if (text.startsWith('close ')) {
			const [, code, reason] = text.split(' ');
			ws.close(Number(code), reason);
		} else {
			ws.send(data, { binary });
		}
	});
	say('open', ws.extensions);
}

function server() {
	const s = new WebSocket.Server({ host: '127.0.0.1', port: 0, perMessageDeflate: deflate, maxPayload: mostPayload }, () => say('listening', s.address().port));
	s.on('connection', serve);
}

function h2server() {
	const s = http2.createServer({ settings: { enableConnectProtocol: true } });
	s.on('stream', (stream, headers) => {
		if (headers[':method'] !== 'CONNECT' || headers[':protocol'] !== 'websocket') {
			stream.respond({ ':status': 405 }, { endStream: true });
			return;
		}
		const negotiated = /permessage-deflate/.test(headers['sec-websocket-extensions'] || '');
		const answer = { ':status': 200 };
		if (negotiated) answer['sec-websocket-extensions'] = 'permessage-deflate';
		stream.respond(answer);
		serve(new Overstream(stream, true, negotiated));
	});
	s.listen(0, '127.0.0.1', () => say('listening', s.address().port));
}

// next is the next message, or the end.
function next(ws) {
	return new Promise((resolve, reject) => {
		const stop = () => {
			ws.off('message', message);
			ws.off(end(ws), close);
		};
		const message = (data, binary) => {
			stop();
			resolve({ data, binary });
		};
		const close = (code, reason) => {
			stop();
			reject(new Error(`closed with ${code} ${reason} where a message was to come`));
		};
		ws.on('message', message);
		ws.on(end(ws), close);
	});
}

async function echo(ws, data, binary) {
	const answer = next(ws);
	ws.send(data, { binary });
	const got = await answer;
	check(got.binary === binary, `a message of ${data.length} bytes came back as the other type`);
	check(Buffer.compare(got.data, Buffer.from(data)) === 0, `a message of ${data.length} bytes came back as another one`);
}

// talk goes through everything; open makes another WebSocket.
async function talk(open) {
	let ws = await open();
	check(/permessage-deflate/.test(ws.extensions), `no permessage-deflate but ${JSON.stringify(ws.extensions)}`);
	await echo(ws, 'hello', false);
	await echo(ws, '', false);
	await echo(ws, 'gr\u00fc\u00dfe '.repeat(400000), false);
	await echo(ws, crypto.randomBytes(5 << 20), true);
	await echo(ws, Buffer.alloc(8 << 20), true);
	for (let i = 0; i < 200; i++) await echo(ws, 'message ' + i, false);

	const pong = once(ws, 'pong');
	ws.ping('hello');
	const [payload] = await pong;
	check(payload.toString() === 'hello', `the pong says ${payload}`);
	const ponged = next(ws);
	ws.send('ping me');
	check((await ponged).data.toString() === 'ponged are you there', 'our pong did not arrive');

	const pushed = new Promise((resolve, reject) => {
		let i = 0;
		ws.on('message', function got(data) {
			if (data.toString() !== 'push ' + i) reject(new Error(`${data} where ${i} was to come`));
			if (++i === 1000) {
				ws.off('message', got);
				resolve();
			}
		});
	});
	ws.send('push 1000');
	await pushed;

	let closed = once(ws, end(ws));
	ws.send('close 4321 enough');
	let [code, reason] = await closed;
	check(code === 4321 && reason.toString() === 'enough', `the origin's code came as ${code} ${reason}`);

	ws = await open();
	closed = once(ws, end(ws));
	ws.close(4001, 'mine');
	[code] = await closed;
	// Streams of node lose, now and then, what arrives just before their end, between two nodes too.
	check(code === 4001 || (mode === 'h2client' && code === 1006), `our own code was answered with ${code}`);
	say('ok');
}

async function stay(open) {
	const ws = await open();
	await echo(ws, 'hello', false);
	say('open');
	ws.on(end(ws), (code) => {
		say('closed', code);
		process.exit(0);
	});
}

async function connect(url) {
	const ws = new WebSocket(url, { perMessageDeflate: deflate, rejectUnauthorized: false, maxPayload: mostPayload });
	await once(ws, 'open');
	return ws;
}

// over is connect over one connection of HTTP/2.
function over(origin, path, host) {
	const session = http2.connect(origin, { rejectUnauthorized: false });
	session.on('error', (e) => fail(e.stack));
	const settings = once(session, 'remoteSettings');
	return async () => {
		await settings;
		check(session.remoteSettings.enableConnectProtocol, 'the gateway offers no extended CONNECT');
		const stream = session.request({
			':method': 'CONNECT', ':protocol': 'websocket', ':scheme': origin.startsWith('https') ? 'https' : 'http', ':path': path, ':authority': host,
			'sec-websocket-version': '13', 'sec-websocket-extensions': 'permessage-deflate',
		}, { endStream: false });
		const [headers] = await once(stream, 'response');
		check(headers[':status'] === 200, `answered ${headers[':status']}`);
		return new Overstream(stream, false, /permessage-deflate/.test(headers['sec-websocket-extensions'] || ''));
	};
}

const [mode, ...rest] = process.argv.slice(2);
const modes = {
	server, h2server,
	client: (url) => talk(() => connect(url)),
	stay: (url) => stay(() => connect(url)),
	h2client: (...to) => talk(over(...to)),
	h2stay: (...to) => stay(over(...to)),
};
Promise.resolve(modes[mode](...rest)).then(() => {
	if (mode === 'h2client' || mode === 'client') process.exit(0);
}).catch((e) => fail(e.stack));
