import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emojiLines } from '../../tools/emoji.mjs';
import { emojiGroups, findEmoji, readEmoji, recent } from './emoji.js';

void test('emoji: found by the words of the language and of English', () => {
    const german = readEmoji(emojiLines('de'), emojiLines('en'));
    const found = (query: string): string[] => findEmoji(german, query, 20).map((e) => e.emoji);
    assert.ok(found('daumen hoch').includes('👍️'));
    assert.ok(found('thumbs').includes('👍️'));
    assert.ok(found('kaf').includes('☕️'));
    assert.deepEqual(found('qqqq'), []);
    assert.deepEqual(found('  '), []);
    assert.equal(found('a').length, 20);
});

void test('emoji: every one has a name and a group that is shown', () => {
    for (const language of ['en', 'de', 'es', 'ja']) {
        const all = readEmoji(emojiLines(language));
        assert.ok(all.length > 1500, language);
        const groups = new Set<number>(emojiGroups);
        assert.ok(all.every((e) => e.emoji !== '' && e.name !== '' && groups.has(e.group)), language);
    }
});

void test('emoji: the last used come first, once', () => {
    assert.deepEqual(recent(['a', 'b', 'c'], 'b', 3), ['b', 'a', 'c']);
    assert.deepEqual(recent(['a', 'b', 'c'], 'd', 3), ['d', 'a', 'b']);
});
