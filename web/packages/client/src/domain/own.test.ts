/* What a client knows of its own account. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { settle, World } from '../mocks/index.js';
import type { HttpAnswer } from '../platform/platform.js';

void test('own account: an answer that was asked for before a change does not undo it', async () => {
    const world = new World(1);
    world.server.addUser('a');
    const device = world.device('a');
    const late: (() => void)[] = [];
    const serve = device.http.handler;
    device.http.handler = (request) => {
        const given = serve(request);
        return request.path === '/api/v1/users/me'
            ? new Promise<HttpAnswer>((done) => late.push(() => done(given)))
            : given;
    };
    await device.signIn();
    await world.rest();
    assert.equal(late.length, 1); /* that it is live is no reason to ask twice */
    world.server.users.set('a', 'Ada');
    device.client.learnOwn({ userId: 'a', username: 'a', displayName: 'Ada' });
    late.shift()?.();
    await settle();
    assert.equal(device.client.me?.displayName, 'Ada');
    late.shift()?.();
    await settle();
    assert.equal(device.client.me?.displayName, 'Ada');
    assert.equal(late.length, 0);
});
