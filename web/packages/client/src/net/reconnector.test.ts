import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, SeededRandom } from '../mocks/index.js';
import type { Random } from '../platform/platform.js';
import { Reconnector } from './reconnector.js';

function rig(random: Random = new SeededRandom(1)) {
    const clock = new FakeClock();
    const tries: number[] = [];
    const r = new Reconnector(clock, random, () => tries.push(clock.now()), () => undefined);
    return { clock, tries, r };
}

void test('reconnector: waits are drawn from a cap that doubles up to 30 s', async () => {
    const top: Random = { fraction: () => 0.999999, id: () => '' };
    const { clock, tries, r } = rig(top);
    const start = clock.now();
    r.start();
    const waits: number[] = [];
    for (let i = 0; i < 9; i++) {
        r.down();
        waits.push(r.retryAt - clock.now());
        await clock.pass(30_000);
    }
    assert.deepEqual(waits, [499, 999, 1999, 3999, 7999, 15999, 29999, 29999, 29999]);
    assert.equal(tries.length, 10);
    assert.equal(tries[0], start);
});

void test('reconnector: a good connection starts from the first cap again, a short one does not', async () => {
    const top: Random = { fraction: () => 0.999999, id: () => '' };
    const { clock, r } = rig(top);
    r.start();
    for (let i = 0; i < 5; i++) {
        r.down();
        await clock.pass(30_000);
    }
    r.up();
    await clock.pass(1000);
    r.down();
    assert.equal(r.retryAt - clock.now(), 15999);
    await clock.pass(16_000);
    r.up();
    await clock.pass(20_000);
    r.down();
    assert.equal(r.retryAt - clock.now(), 499);
});

void test('reconnector: waits at least what the server asks for, and spreads beyond it', () => {
    const waits = new Set<number>();
    for (let seed = 0; seed < 50; seed++) {
        const { clock, r } = rig(new SeededRandom(seed));
        r.start();
        r.down(5000);
        const wait = r.retryAt - clock.now();
        assert.ok(wait >= 5000 && wait < 5500);
        waits.add(wait);
    }
    assert.ok(waits.size > 20);
});

void test('reconnector: wake tries at once, and only when it waits', async () => {
    const { clock, tries, r } = rig();
    r.start();
    r.wake();
    assert.equal(tries.length, 1);
    r.down();
    r.wake();
    assert.equal(tries.length, 2);
    assert.equal(r.state, 'connecting');
    await clock.pass(60_000);
    assert.equal(tries.length, 2, 'the old timer is gone');
    r.down();
    r.stop();
    await clock.pass(60_000);
    assert.equal(tries.length, 2);
    assert.equal(r.state, 'stopped');
});
