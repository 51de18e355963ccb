import assert from 'node:assert/strict';
import { test } from 'node:test';
import { initials } from './parts/avatar.js';
import { pieces } from './text.js';

const links = (text: string): string[] => pieces(text).flatMap((p) => ('link' in p ? [p.link] : []));

void test('text: addresses become links, and the sentence around them stays', () => {
    assert.deepEqual(links('see https://a.example/x?y=1#z, and (http://b.example/q(1)).'), ['https://a.example/x?y=1#z', 'http://b.example/q(1)']);
    const all = 'one https://a.example/x. two <b>http://b.example</b>';
    assert.equal(pieces(all).map((p) => ('link' in p ? p.link : p.text)).join(''), all);
});

void test('text: nothing but http and https is a link', () => {
    for (const bad of ['javascript:alert(1)', 'data:text/html,x', 'file:///etc', 'https://', 'http://"onmouseover=', 'ftp://a.example']) {
        assert.deepEqual(links(bad), [], bad);
    }
});

void test('avatar: initials of all kinds of names', () => {
    assert.deepEqual(['Ada Lovelace', 'bob', '  ', 'Jean-Luc de la Tour', '李 小龍', '𝒳 y'].map(initials), ['AL', 'B', '', 'JT', '李小', '𝒳Y']);
});
