import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SeededRandom } from '@confab/client/mocks';
import { type Block, type Inline, onlyEmoji, parseMessage, plainText, safeLink } from './markdown.js';
import { messageNodes } from './text.js';

/* The tree in short: b( ) i( ) s( ) `code` <link|text> @mention, blocks in [ ]. */
function inline(c: Inline): string {
    if (typeof c === 'string') {
        return c;
    }
    switch (c.tag) {
        case 'code':
            return `\`${c.text}\``;
        case 'link':
            return c.href === c.text ? `<${c.href}>` : `<${c.href}|${c.text}>`;
        case 'mention':
            return `{${c.user}:${c.text}}`;
        default:
            return `${{ strong: 'b', em: 'i', del: 's' }[c.tag]}(${c.children.map(inline).join('')})`;
    }
}
function block(b: Block): string {
    switch (b.block) {
        case 'text':
            return b.children.map(inline).join('');
        case 'code':
            return `[code ${b.text}]`;
        case 'quote':
            return `[quote ${b.children.map(block).join('')}]`;
        case 'list':
            return `[${b.start ?? '-'} ${b.items.map((i) => i.map(inline).join('')).join(' | ')}]`;
    }
}
const short = (text: string): string =>
    parseMessage(text, (name) => ({ ada: '1', 'bob.marsh': '2' })[name]).map(block).join('');

const cases: [string, string][] = [
    ['plain, 2 * 3 * 4 and a*b*c', 'plain, 2 * 3 * 4 and a*b*c'],
    ['**bold** and __not__', 'b(bold) and __not__'],
    ['*it* _it_ ~~out~~', 'i(it) i(it) s(out)'],
    ['***both*** **a *b* c**', 'b(i(both)) b(a i(b) c)'],
    ['snake_case_name and __init__.py', 'snake_case_name and __init__.py'],
    ['太字**です**よ', '太字b(です)よ'],
    ['**not closed', '**not closed'],
    ['*a **b* c**', 'i(a **b) c**'],
    ['** spaced **', '** spaced **'],
    ['\\*not\\* \\\\ \\a', '*not* \\ \\a'],
    ['`code *x*` and ``a ` b``', '`code *x*` and `a ` b`'],
    ['` ` `open', '` ` `open'],
    ['one\ntwo **x\ny** z', 'one\ntwo **x\ny** z'],
    ['```\nlet a = **1**;\n```\nafter', '[code let a = **1**;]after'],
    ['before\n```ts\nx\n\ny\n```', 'before[code x\n\ny]'],
    ['```ts\nnot closed', '```ts\nnot closed'],
    ['```not a language\nx\n```', '```not a language\nx\n```'],
    ['```one line```', '[code one line]'],
    ['> said\n> **he**\nno', '[quote said\nb(he)]no'],
    ['>> twice', '[quote [quote twice]]'],
    ['- a\n- *b*\n\nend', '[- a | i(b)]end'],
    ['3. c\n4. d', '[3 c | d]'],
    ['-5 degrees, 1.5 hours', '-5 degrees, 1.5 hours'],
    ['see https://a.example/x_y_z?q=*1*#f, ok', 'see <https://a.example/x_y_z?q=*1*#f>, ok'],
    ['(https://b.example/q(1)).', '(<https://b.example/q(1)>).'],
    ['**https://c.example**', 'b(<https://c.example>)'],
    ['[name](https://d.example/a(b)) x', '<https://d.example/a(b)|name> x'],
    ['[name](https://d.example/a) [bad](javascript:alert(1))', '<https://d.example/a|name> [bad](javascript:alert(1))'],
    ['@ada and @Bob.Marsh. mail@ada @eve', '{1:@ada} and {2:@Bob.Marsh}. mail@ada @eve'],
    ['<b>x</b> <script>alert(1)</script> &amp;', '<b>x</b> <script>alert(1)</script> &amp;'],
];

for (const [text, want] of cases) {
    void test(`markdown: ${JSON.stringify(text)}`, () => assert.equal(short(text), want));
}

void test('markdown: nothing but http and https is a link', () => {
    for (const bad of ['javascript:alert(1)', 'data:text/html,x', 'file:///etc', 'https://', 'http://"onmouseover=', 'ftp://a.example', 'java\nscript:x', '//a.example']) {
        assert.equal(safeLink(bad), undefined, bad);
        assert.ok(!parseMessage(bad).some((b) => b.block === 'text' && b.children.some((c) => typeof c !== 'string')), bad);
    }
});

void test('markdown: previews have the text without its marks', () => {
    assert.equal(plainText('**Lunch** at `12`?\n> why\n- a\n- [b](https://b.example)'), 'Lunch at 12?\nwhy\n• a\n• b');
});

void test('markdown: a few emoji alone are large', () => {
    for (const yes of ['👍', '❤️', '👩‍👩‍👧 🇪🇺', '👋🏽', '1️⃣', '😀😀😀']) {
        assert.equal(onlyEmoji(yes), true, yes);
    }
    for (const no of ['', ' ', '1', '#', 'ok 👍', '😀😀😀😀', '™a']) {
        assert.equal(onlyEmoji(no), false, no);
    }
});

/* ---- Whatever is written ---- */

const PIECES = [
    '*', '**', '_', '__', '~~', '`', '```', '\n', '\n> ', '\n- ', '\n1. ', ' ', 'a', 'word', 'https://a.example/', 'http://',
    '[x](https://b.example)', '[', ']', '(', ')', '](', '\\', '@ada', '@', '<b>', '</b>', '<img src=x onerror=alert(1)>', '"',
    "'", '&lt;', 'javascript:alert(1)', '[y](javascript:alert(1))', '太字', 'مرحبا', '👍🏽', '\u202e', '\ud83d', '\0', '.', ',',
];
const ELEMENTS = new Set(['strong', 'em', 'del', 'code', 'a', 'span', 'pre', 'blockquote', 'ul', 'ol', 'li']);
const ATTRIBUTES = new Set(['class', 'dir', 'href', 'target', 'rel', 'title', 'data-user', 'start', 'tabIndex', 'children']);

interface Node {
    type: unknown;
    props: Record<string, unknown>;
}

/* Only harmless elements with harmless attributes; all else is text. Returns the text and the depth. */
function walk(node: unknown, texts: string[], depth: number): number {
    if (Array.isArray(node)) {
        return Math.max(depth, ...node.map((n) => walk(n, texts, depth)));
    }
    if (typeof node === 'string') {
        texts.push(node);
        return depth;
    }
    const { type, props } = node as Node;
    assert.ok(typeof type === 'string' && ELEMENTS.has(type), String(type));
    for (const [name, value] of Object.entries(props)) {
        assert.ok(ATTRIBUTES.has(name), name);
        if (name === 'href') {
            assert.match(String(value), /^https?:\/\//);
            assert.deepEqual([props['rel'], props['target']], ['noopener noreferrer nofollow', '_blank']);
        }
    }
    return walk(props['children'] ?? [], texts, depth + 1);
}

void test('markdown: whatever is written, it stays text in harmless elements', () => {
    const random = new SeededRandom(1);
    for (let round = 0; round < 4000; round++) {
        let text = '';
        for (let n = 1 + random.below(40); n > 0; n--) {
            text += random.pick(PIECES);
        }
        const shown: string[] = [];
        const depth = walk(messageNodes({ text, mentioned: () => '7', me: '7' }), shown, 0);
        assert.ok(depth <= 12, `${depth} deep: ${JSON.stringify(text)}`);
        /* Nothing is made up and nothing changes places: what is shown is in the text, in order. */
        let at = 0;
        for (const c of shown.join('').replace(/\s/g, '')) {
            const next = text.indexOf(c, at);
            assert.ok(next >= at, `${JSON.stringify(c)} of ${JSON.stringify(text)}`);
            at = next + c.length;
        }
    }
});

void test('markdown: what is no mark is not lost', () => {
    const random = new SeededRandom(2);
    const some = PIECES.filter((p) => !/[[`]/.test(p) && p !== '](');
    const letters = (s: string): string => s.replace(/[^\p{L}<>&;"'=(),]/gu, '');
    for (let round = 0; round < 4000; round++) {
        let text = '';
        for (let n = 1 + random.below(40); n > 0; n--) {
            text += random.pick(some);
        }
        const shown: string[] = [];
        walk(messageNodes({ text }), shown, 0);
        const unquoted = text.replace(/^(> ?){1,3}/gm, '');
        assert.equal(letters(shown.join('')), letters(unquoted), JSON.stringify(text));
    }
});

void test('markdown: the work grows with the text, not with its square', () => {
    const long = 16_384;
    const evil = ['*', '*a ', '_a', '**a *b ', '`', '` ``', '[', '[a](', '[a](https://', 'http://', 'https://a)', '@', '@a.', '>', '> ', '\n> ', '- ', '```\n', '~~', '\\', 'h', '***', 'https://%'];
    for (const piece of evil) {
        const text = piece.repeat(Math.ceil(long / piece.length)).slice(0, long);
        let nodes = 0;
        const count = (n: unknown): void => {
            nodes++;
            if (Array.isArray(n)) {
                n.forEach(count);
            } else if (typeof n === 'object' && n !== null) {
                count((n as Node).props['children'] ?? []);
            }
        };
        count(messageNodes({ text }));
        assert.ok(nodes <= 4 * long, `${JSON.stringify(piece)}: ${nodes} nodes`);
    }
});
