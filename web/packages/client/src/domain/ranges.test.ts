import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SeededRandom } from '../mocks/random.js';
import { addRange, covers, rangeAt, type Ranges } from './ranges.js';

void test('ranges: adding joins what overlaps or touches', () => {
    let r: Ranges = [];
    r = addRange(r, 5, 7);
    r = addRange(r, 1, 2);
    assert.deepEqual(r, [[1, 2], [5, 7]]);
    assert.deepEqual(addRange(r, 3, 4), [[1, 7]]);
    assert.deepEqual(addRange(r, 8, 9), [[1, 2], [5, 9]]);
    assert.deepEqual(addRange(r, 4, 3), r);
    assert.deepEqual(rangeAt(r, 6), [5, 7]);
    assert.equal(rangeAt(r, 3), undefined);
});

void test('ranges: are the sets of numbers that they stand for', () => {
    const random = new SeededRandom(7);
    for (let round = 0; round < 300; round++) {
        let r: Ranges = [];
        const set = new Set<number>();
        for (let i = 0; i < 12; i++) {
            const from = random.below(40);
            const to = from + random.below(6) - 1;
            r = addRange(r, from, to);
            for (let n = from; n <= to; n++) {
                set.add(n);
            }
        }
        for (let n = 0; n < 50; n++) {
            assert.equal(rangeAt(r, n) !== undefined, set.has(n));
        }
        r.forEach((x, i) => {
            const before = r[i - 1];
            assert.ok(before === undefined || x[0] > before[1] + 1, 'sorted, apart');
        });
        assert.equal(covers(r, 3, 9), [3, 4, 5, 6, 7, 8, 9].every((n) => set.has(n)));
    }
});
