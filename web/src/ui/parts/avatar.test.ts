import assert from 'node:assert/strict';
import { test } from 'node:test';
import { initials } from './avatar.js';

void test('avatar: initials of all kinds of names', () => {
    assert.deepEqual(['Ada Lovelace', 'bob', '  ', 'Jean-Luc de la Tour', '李 小龍', '𝒳 y'].map(initials), ['AL', 'B', '', 'JT', '李小', '𝒳Y']);
});
