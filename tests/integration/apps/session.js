/* An Express application with its sessions in "Redis", as express-session and connect-redis are set up by their users.
 *
 *   node session.js SOCKET LISTEN CLIENT
 *
 * SOCKET: the path of Redis's socket. LISTEN: "http:PORT" or "fcgi:PATH", a Unix socket. CLIENT: redis-6,
 * redis-6-resp2, redis-5, or ioredis, which connect-redis 8 was the last to know. NODE_PATH says where the packages are.
 *
 *   /count  /read  /set?value=  /regenerate  /destroy  /reload
 *   /count?hold=MS  that long between reading and writing
 *   /all  /length  /ids  /clear    of the store: SCAN, MGET, DEL */
'use strict';
const express = require('express');
const session = require('express-session');

const [socket, listen, kind] = process.argv.slice(2);
const prefix = 'sess:';

async function connected(name, protocol) {
	const { createClient } = require(name);
	const client = createClient({ socket: { path: socket }, RESP: protocol });
	client.on('error', (error) => console.error('redis: ' + error));
	await client.connect();
	return client;
}

async function makeStore() {
	if (kind === 'ioredis') {
		const Redis = require('ioredis');
		const client = new Redis(socket, { connectionName: 'weir-test' });
		await client.ping();
		const { RedisStore } = require('connect-redis-8');
		return new RedisStore({ client, prefix, ttl: 500 });
	}
	const { RedisStore } = require('connect-redis');
	const client = await connected(kind === 'redis-5' ? 'redis-5' : 'redis', kind === 'redis-6' ? 3 : 2);
	return new RedisStore({ client, prefix, ttl: 500, scanCount: 10 });
}

/* Callbacks as promises. */
const done = (object, method, ...args) => new Promise((good, bad) =>
	object[method](...args, (error, value) => error ? bad(error) : good(value)));

function routes(app, store) {
	const report = (req, res) => res.json({ id: req.sessionID, session: { ...req.session, cookie: undefined } });

	app.get('/count', (req, res) => {
		const n = req.session.n || 0;
		setTimeout(() => {
			req.session.n = n + 1;
			report(req, res);
		}, Number(req.query.hold || 0));
	});
	app.get('/read', report);
	app.get('/set', (req, res) => {
		req.session.value = req.query.value;
		report(req, res);
	});
	app.get('/regenerate', async (req, res) => {
		const kept = req.session.n;
		await done(req.session, 'regenerate');
		req.session.n = kept;
		await done(req.session, 'save');
		report(req, res);
	});
	app.get('/reload', async (req, res) => {
		await done(req.session, 'reload');
		report(req, res);
	});
	app.get('/destroy', async (req, res) => {
		const id = req.sessionID;
		await done(req.session, 'destroy');
		res.clearCookie('connect.sid').json({ id });
	});
	app.get('/all', async (_req, res) => res.json(await done(store, 'all')));
	app.get('/ids', async (_req, res) => res.json(await done(store, 'ids')));
	app.get('/length', async (_req, res) => res.json(await done(store, 'length')));
	app.get('/clear', async (_req, res) => {
		await done(store, 'clear');
		res.json('cleared');
	});
}

async function main() {
	const store = await makeStore();
	const app = express();
	// Not for what looks at the store as a whole: these requests have no session of their own.
	const sessions = session({ store, secret: 'weir', resave: false, saveUninitialized: false });
	app.use((req, res, next) =>
		['/all', '/ids', '/length', '/clear'].includes(req.path) ? next() : sessions(req, res, next));
	routes(app, store);
	app.use((error, _req, res, _next) => {
		console.error(error);
		res.status(500).end(String(error));
	});
	const at = listen.slice(5);
	if (listen.startsWith('fcgi:'))
		require('node-fastcgi').createServer(app).listen(at);
	else
		app.listen(Number(at), '127.0.0.1');
}

main().catch((error) => {
	console.error(error);
	process.exit(1);
});
