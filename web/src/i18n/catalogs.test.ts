import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ar } from './ar.js';
import { de } from './de.js';
import { type Catalog, en } from './en.js';
import { es } from './es.js';
import { type Forms, formsOf } from './forms.js';
import { isLanguage, languageFor, localeOf } from './index.js';
import { ja } from './ja.js';

const catalogs: Record<string, (f: Forms) => Catalog> = { en, de, es, ar, ja };
/* The same in several languages by right. */
const SAME = /^(appName|role\.|.*\.(admin|owner)$)/;

/* Every text of a catalogue by its key; a phrase with what it is made for. */
function texts(part: object, key = ''): [string, string][] {
    return Object.entries(part).flatMap(([k, v]: [string, unknown]): [string, string][] => {
        const name = key === '' ? k : `${key}.${k}`;
        if (typeof v === 'string') {
            return [[name, v]];
        }
        if (typeof v === 'function') {
            if (name === 'list' || name === 'problem.invalid') {
                return [];
            }
            return [0, 1, 2, 3, 11, 100, 1234].flatMap((n) => {
                /* Whatever a phrase takes: numbers where a number stands first, names elsewhere. */
                const made: unknown = (v as (...a: unknown[]) => unknown)(n, 'Ada', 'owner', true);
                return typeof made === 'string' ? [[`${name}(${n})`, made] as [string, string]] : [];
            });
        }
        return texts(v as object, name);
    });
}

for (const [code, make] of Object.entries(catalogs)) {
    void test(`languages: ${code} has a text for every key, without holes`, () => {
        const all = texts(make(formsOf(code)));
        for (const [key, text] of all) {
            assert.doesNotMatch(text, /undefined|NaN|\[object|#/, key);
            assert.ok(text !== '' || key === 'role.member', `${key} is empty`);
        }
        const english = new Map(texts(en(formsOf('en'))));
        const untold = all.filter(([k, v]) => code !== 'en' && !k.includes('(') && !SAME.test(k) && english.get(k) === v);
        assert.ok(untold.length < 8, `not translated: ${untold.map(([k]) => k).join(', ')}`);
    });
}

void test('languages: each counts in its own way', () => {
    assert.deepEqual([0, 1, 2].map((n) => en(formsOf('en')).membersCount(n)), ['0 members', '1 member', '2 members']);
    const arabic = ar(formsOf('ar'));
    assert.equal(new Set([1, 2, 3, 11, 100].map((n) => arabic.membersCount(n).replace(/[\d\u0660-\u0669]+/, ''))).size, 5);
    assert.equal(de(formsOf('de')).membersCount(1234), '1.234 Mitglieder');
    assert.equal(ja(formsOf('ja')).membersCount(1), 'メンバー1人');
});

void test('languages: the browser\'s first one that is there, with its region', () => {
    assert.deepEqual(languageFor(['pt-BR', 'de-AT', 'en']), { code: 'de', locale: 'de-AT' });
    assert.deepEqual(languageFor(['pt-BR']), { code: 'en', locale: 'en' });
    assert.equal(localeOf('es', ['en-GB', 'es-MX']), 'es-MX');
    assert.equal(localeOf('ja', ['en-GB']), 'ja');
    assert.equal(isLanguage('toString'), false);
});
