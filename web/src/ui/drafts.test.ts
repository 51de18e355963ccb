import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseBegun } from './drafts.js';

void test('drafts: what was begun is read back, and anything else is nothing', () => {
    assert.deepEqual(parseBegun('{"kind":"reply","id":"7"}'), { kind: 'reply', id: '7' });
    assert.deepEqual(parseBegun('{"kind":"reply","id":"7","text":"x","more":1}'), { kind: 'reply', id: '7' });
    assert.deepEqual(parseBegun('{"kind":"edit","id":"7","text":""}'), { kind: 'edit', id: '7', text: '' });
    assert.deepEqual(parseBegun('{"kind":"edit","id":"7","text":3}'), { kind: 'edit', id: '7' });
    for (const odd of ['', '{', 'null', '[]', '7', '{"kind":"new","id":"7"}', '{"kind":"edit","id":7}', '{"kind":"reply"}']) {
        assert.equal(parseBegun(odd), undefined, odd);
    }
});
