import assert from 'node:assert/strict';
import { test } from 'node:test';
import { settle, World } from '../mocks/index.js';

/* Everything that is on its way arrives, without a moment passing. */
async function arrive(world: World): Promise<void> {
    await settle();
    for (let i = 0; i < 1000 && world.server.step(); i++) {
        await settle();
    }
}

async function asleep(): Promise<{ world: World; ann: ReturnType<World['device']>; conv: string }> {
    const world = new World(7);
    world.server.addUser('1');
    world.server.addUser('2');
    const ann = world.device('1');
    const ben = world.device('2');
    await ann.signIn();
    await ben.signIn();
    await world.rest(() => ann.client.link === 'live' && ben.client.link === 'live');
    ben.client.send({ user: '1' }, 'before');
    await world.rest(() => ann.client.conversations().length === 1);
    const conv = ann.client.conversations()[0]?.id ?? '';
    world.server.vanish('1');
    ben.client.send({ conversation: conv }, 'while she slept');
    await arrive(world);
    return { world, ann, conv };
}

void test('wake: after a long sleep everything is there at once, though nobody closed the socket', async () => {
    const { world, ann, conv } = await asleep();
    world.clock.sleep(8 * 3_600_000);
    const woken = world.clock.now();
    ann.client.wake();
    await arrive(world);
    assert.equal(ann.client.link, 'live');
    assert.ok(world.clock.now() - woken < 1000);
    assert.equal(ann.client.conversation(conv)?.preview?.content, 'while she slept');
    await ann.client.stop();
});

void test('wake: a short absence is found out by asking', async () => {
    const { world, ann, conv } = await asleep();
    ann.client.wake();
    await arrive(world);
    assert.equal(ann.client.conversation(conv)?.preview?.content, 'before');
    await world.clock.pass(3000);
    await arrive(world);
    assert.equal(ann.client.conversation(conv)?.preview?.content, 'while she slept');
    await ann.client.stop();
});

void test('wake: a connection that answers stays', async () => {
    const world = new World(8);
    world.server.addUser('1');
    const ann = world.device('1');
    await ann.signIn();
    await world.rest(() => ann.client.link === 'live');
    for (let i = 0; i < 5; i++) {
        ann.client.wake();
        await arrive(world);
        await world.clock.pass(3000);
        await arrive(world);
    }
    assert.equal(ann.client.link, 'live');
    assert.equal(world.server.connections.length, 1);
    await ann.client.stop();
});
