import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { User } from '@confab/client';
import { matching, mentionAt, mentionedIn, withMention } from './mentions.js';

const people: User[] = [
    { userId: '1', username: 'ada', displayName: 'Ada Lovelace' },
    { userId: '2', username: 'bob.marsh', displayName: 'Bob Marsh' },
    { userId: '3', username: 'zoe', displayName: 'Zoë Adams' },
    { userId: '4', username: 'm-ad', displayName: 'Max' },
];

void test('mentions: what is being written before the caret', () => {
    const at = (text: string) => mentionAt(text.replace('|', ''), text.indexOf('|'));
    assert.deepEqual(at('@|'), { from: 0, query: '' });
    assert.deepEqual(at('hi @bo|b'), { from: 3, query: 'bo' });
    assert.deepEqual(at('(@bob.ma|'), { from: 1, query: 'bob.ma' });
    for (const none of ['|', 'hi |', 'mail@ex|', '@ada |', '@|'.replace('@', ''), 'a@|']) {
        assert.equal(at(none), undefined, none);
    }
});

void test('mentions: people whose name begins so, usernames first', () => {
    assert.deepEqual(matching(people, 'ad', 5).map((u) => u.username), ['ada', 'zoe']);
    assert.deepEqual(matching(people, 'zoe', 5).map((u) => u.username), ['zoe']);
    assert.deepEqual(matching(people, 'zoë', 5).map((u) => u.username), ['zoe']);
    assert.equal(matching(people, '', 3).length, 3);
    assert.deepEqual(matching(people, 'xyz', 3), []);
});

void test('mentions: put in at the caret, with a space where one is needed', () => {
    assert.deepEqual(withMention('hi @bo there', 3, 6, 'bob.marsh'), { text: 'hi @bob.marsh there', caret: 13 });
    assert.deepEqual(withMention('@b', 0, 2, 'bob.marsh'), { text: '@bob.marsh ', caret: 11 });
});

void test('mentions: whom a text mentions', () => {
    assert.deepEqual(mentionedIn('@Ada, @bob.marsh. and @ada; x@zoe @nobody', people), ['1', '2']);
    assert.deepEqual(mentionedIn('no one', people), []);
});
