/*
 * The small part of Markdown that messages may use, from text to a tree: bold, italic, struck out,
 * code, code blocks, quotes, lists, links, and mentions. Pure, and linear in the length of the text,
 * whatever somebody has written. There is no HTML in it, neither taken nor made: what is not one of
 * these stays the text that it was.
 *
 *     **bold** *italic* _italic_ ~~struck~~ `code` [name](https://…) https://… @username
 *     ``` lines ```   > quote   - item   1. item   \* the character itself
 *
 * Written here rather than taken from a library: those that are well kept make HTML, know ten times
 * as much (headings, tables, images, raw HTML to be cleaned afterwards), and weigh more than all else
 * that the page loads. Emphasis does not go beyond its line, and an opened mark that is not closed is
 * text: what people paste into a chat is mostly not Markdown.
 */
export type Inline =
    | string
    | { tag: 'strong' | 'em' | 'del'; children: Inline[] }
    | { tag: 'code'; text: string }
    | { tag: 'link'; href: string; text: string }
    | { tag: 'mention'; text: string; user: string };

export type Block =
    | { block: 'text'; children: Inline[] }
    | { block: 'code'; text: string }
    | { block: 'quote'; children: Block[] }
    | { block: 'list'; start: number | undefined; items: Inline[][] };

/* Whose username it is, in lower case; undefined: nobody's who was mentioned. */
export type Mentioned = (username: string) => string | undefined;

const QUOTES_MAX = 3;
const nobody: Mentioned = () => undefined;

/* ---- Blocks ---- */

/* A word after it names the language, and is not shown. */
const fence = /^\s{0,3}(`{3,})\s*[\w+#.-]{0,20}\s*$/;
const quoted = /^>\s?/;
const bullet = /^\s{0,3}[-*•]\s+(?=\S)/;
const numbered = /^\s{0,3}(\d{1,9})[.)]\s+(?=\S)/;

export function parseMessage(text: string, mentioned: Mentioned = nobody): Block[] {
    return blocks(text.replace(/\r\n?/g, '\n').split('\n'), mentioned, 0);
}

function blocks(lines: string[], mentioned: Mentioned, depth: number): Block[] {
    const out: Block[] = [];
    let plain: string[] = [];
    const endText = (): void => {
        /* Empty lines beside a block are the space that it makes anyway. */
        while (out.length > 0 && plain[0]?.trim() === '') {
            plain.shift();
        }
        if (plain.length > 0) {
            out.push({ block: 'text', children: joined(plain.map((l) => inline(l, mentioned))) });
        }
        plain = [];
    };
    const startBlock = (): void => {
        while (plain.at(-1)?.trim() === '') {
            plain.pop();
        }
        endText();
    };
    /* Fences of so many backticks are not closed from here on. */
    let unclosed = Infinity;
    for (let i = 0; i < lines.length; ) {
        const line = lines[i] ?? '';
        const length = fence.exec(line)?.[1]?.length ?? unclosed;
        const end = length < unclosed ? closing(lines, i + 1, length) : undefined;
        if (end === undefined) {
            unclosed = Math.min(unclosed, length);
        } else {
            startBlock();
            out.push({ block: 'code', text: lines.slice(i + 1, end).join('\n') });
            i = end + 1;
            continue;
        }
        /* A block on one line: ```like this``` */
        const short = /^\s{0,3}`{3}([^`]+)`{3}\s*$/.exec(line);
        if (short?.[1] !== undefined) {
            startBlock();
            out.push({ block: 'code', text: short[1] });
            i++;
            continue;
        }
        if (depth < QUOTES_MAX && quoted.test(line)) {
            const from = i;
            while (i < lines.length && quoted.test(lines[i] ?? '')) {
                i++;
            }
            startBlock();
            const inner = lines.slice(from, i).map((l) => l.replace(quoted, ''));
            out.push({ block: 'quote', children: blocks(inner, mentioned, depth + 1) });
            continue;
        }
        const mark = bullet.test(line) ? bullet : numbered.test(line) ? numbered : undefined;
        if (mark) {
            const start = mark === numbered ? Number(numbered.exec(line)?.[1]) : undefined;
            const items: Inline[][] = [];
            while (i < lines.length && mark.test(lines[i] ?? '')) {
                items.push(inline((lines[i] ?? '').replace(mark, ''), mentioned));
                i++;
            }
            startBlock();
            out.push({ block: 'list', start, items });
            continue;
        }
        plain.push(line);
        i++;
    }
    endText();
    return out;
}

/* The line that closes a fence. */
function closing(lines: string[], from: number, length: number): number | undefined {
    for (let i = from; i < lines.length; i++) {
        const line = (lines[i] ?? '').trim();
        if (line.length >= length && /^`+$/.test(line)) {
            return i;
        }
    }
    return undefined;
}

function joined(lines: Inline[][]): Inline[] {
    const out: Inline[] = [];
    lines.forEach((line, i) => {
        if (i > 0) {
            out.push('\n');
        }
        out.push(...line);
    });
    return out;
}

/* ---- Inside a line ---- */

type Kind = '**' | '*' | '_' | '~~';
interface Mark {
    kind: Kind;
    opens: boolean;
    closes: boolean;
}
type Token = Inline | Mark;

const tags = { '**': 'strong', '*': 'em', _: 'em', '~~': 'del' } as const;
const escaped = /\\([\\`*_~[\]()>@.#+-])/y;
const named = /\[([^[\]\n]{1,200})\]\((https?:\/\/(?:[^\s<>"'()]|\([^\s<>"'()]*\)){1,2000})\)/y;
const address = /https?:\/\/[^\s<>"']{1,2000}/y;
const mention = /@([\p{L}\p{N}](?:[\p{L}\p{N}._-]{0,62}[\p{L}\p{N}_])?)/uy;
const delimiter = /\*\*|~~|\*|_+/y;
const ordinary = /[^\\`*_~[@h]+|h+(?!ttps?:\/\/)/y;
/* Scripts that put spaces between words: a mark in the middle of such a word is none. */
const inWord = /[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}\p{Script=Arabic}\p{Script=Hebrew}\p{N}]/u;

function isMark(t: Token): t is Mark {
    return typeof t === 'object' && 'kind' in t;
}

function at(pattern: RegExp, line: string, pos: number): RegExpExecArray | null {
    pattern.lastIndex = pos;
    return pattern.exec(line);
}

/* The code point before a place. */
function before(line: string, pos: number): string {
    const low = line.charCodeAt(pos - 1);
    return line.slice(low >= 0xdc00 && low <= 0xdfff ? pos - 2 : pos - 1, pos);
}

function markAt(line: string, pos: number, kind: Kind): Mark {
    const prev = pos === 0 ? '' : before(line, pos);
    const next = String.fromCodePoint(line.codePointAt(pos + kind.length) ?? 0x20);
    const open = next.trim() !== '';
    const close = prev.trim() !== '';
    return { kind, opens: open && !inWord.test(prev), closes: close && !inWord.test(next) };
}

/* Where runs of so many backticks begin, from the last to the first. */
function backticks(line: string): Map<number, number[]> {
    const runs = new Map<number, number[]>();
    for (const run of line.matchAll(/`+/g)) {
        const places = runs.get(run[0].length) ?? [];
        places.unshift(run.index);
        runs.set(run[0].length, places);
    }
    return runs;
}

function tokens(line: string, mentioned: Mentioned): Token[] {
    const out: Token[] = [];
    const runs = backticks(line);
    const text = (s: string): void => {
        const last = out.at(-1);
        if (typeof last === 'string') {
            out[out.length - 1] = last + s;
        } else {
            out.push(s);
        }
    };
    for (let pos = 0; pos < line.length; ) {
        const plain = at(ordinary, line, pos);
        if (plain) {
            text(plain[0]);
            pos += plain[0].length;
            continue;
        }
        const found = special(line, pos, runs, mentioned);
        if (found) {
            if (typeof found[0] === 'string') {
                text(found[0]);
            } else {
                out.push(found[0]);
            }
            pos += found[1];
        } else {
            text(line.charAt(pos));
            pos++;
        }
    }
    return out;
}

/* What stands there, and how long it is. */
function special(line: string, pos: number, runs: Map<number, number[]>, mentioned: Mentioned): [Token, number] | undefined {
    switch (line[pos]) {
        case '\\': {
            const e = at(escaped, line, pos);
            return e?.[1] === undefined ? undefined : [e[1], e[0].length];
        }
        case '`': {
            const length = /^`+/.exec(line.slice(pos, pos + 64))?.[0].length ?? 1;
            const places = runs.get(length) ?? [];
            while (places.length > 0 && (places.at(-1) ?? 0) <= pos) {
                places.pop();
            }
            const end = places.at(-1);
            if (end === undefined) {
                return ['`'.repeat(length), length];
            }
            const inner = line.slice(pos + length, end);
            const code = /^ .*[^ ].* $/.test(inner) ? inner.slice(1, -1) : inner;
            return [{ tag: 'code', text: code }, end + length - pos];
        }
        case '[': {
            const n = at(named, line, pos);
            const href = n?.[2] === undefined ? undefined : safeLink(n[2]);
            return n?.[1] === undefined || href === undefined
                ? undefined
                : [{ tag: 'link', href, text: n[1] }, n[0].length];
        }
        case 'h': {
            const prev = before(line, pos);
            const a = pos > 0 && inWord.test(prev) ? null : at(address, line, pos);
            const link = a ? trimmed(a[0]) : '';
            const href = safeLink(link);
            return href === undefined ? undefined : [{ tag: 'link', href, text: link }, link.length];
        }
        case '@': {
            const m = pos > 0 && inWord.test(before(line, pos)) ? null : at(mention, line, pos);
            const user = m?.[1] === undefined ? undefined : mentioned(m[1].toLowerCase());
            return m && user !== undefined ? [{ tag: 'mention', text: m[0], user }, m[0].length] : undefined;
        }
        default: {
            const d = at(delimiter, line, pos);
            if (!d) {
                return undefined;
            }
            /* Of three the single one is inside: it opens last and closes first. */
            const end = line.startsWith('***', pos) && pos > 0 && before(line, pos).trim() !== '';
            const mark = end ? '*' : d[0];
            /* __init__ is a name, in what people paste, more often than it is bold. */
            return mark in tags ? [markAt(line, pos, mark as Kind), mark.length] : [mark, mark.length];
        }
    }
}

/* A full stop or a bracket after an address belongs to the sentence. */
function trimmed(link: string): string {
    const depth = { '(': 0, '[': 0, '{': 0 };
    const pair: Record<string, keyof typeof depth> = { ')': '(', ']': '[', '}': '{' };
    for (const c of link) {
        if (c === '(' || c === '[' || c === '{') {
            depth[c]++;
        } else if (pair[c]) {
            depth[pair[c]]--;
        }
    }
    let end = link.length;
    for (; end > 0; end--) {
        const c = link.charAt(end - 1);
        const open = pair[c];
        if (open !== undefined && depth[open] < 0) {
            depth[open]++;
        } else if (!'.,;:!?*_~'.includes(c)) {
            break;
        }
    }
    return link.slice(0, end);
}

/* An address that may be followed; undefined: anything else. */
export function safeLink(link: string): string | undefined {
    try {
        const url = new URL(link);
        const web = url.protocol === 'https:' || url.protocol === 'http:';
        return web && url.hostname !== '' && /^https?:\/\/[^\s<>"']+$/i.test(link) ? link : undefined;
    } catch {
        return undefined;
    }
}

/*
 * Marks are paired with the nearest one before them. At most one of a kind is open, so that what is
 * made is at most five deep.
 */
function inline(line: string, mentioned: Mentioned): Inline[] {
    const out: Inline[] = [];
    const open: { kind: Kind; place: number }[] = [];
    const text = (s: string): void => {
        const last = out.at(-1);
        const fresh = open.at(-1)?.place === out.length - 1; /* an opened mark may still become a tag */
        if (typeof last === 'string' && !fresh) {
            out[out.length - 1] = last + s;
        } else {
            out.push(s);
        }
    };
    for (const t of tokens(line, mentioned)) {
        if (!isMark(t)) {
            if (typeof t === 'string') {
                text(t);
            } else {
                out.push(t);
            }
            continue;
        }
        const same = open.findIndex((o) => o.kind === t.kind);
        const begun = open[same];
        if (t.closes && begun && begun.place < out.length - 1) {
            const children = out.splice(begun.place).slice(1);
            open.length = same;
            out.push({ tag: tags[t.kind], children });
        } else if (t.opens) {
            if (begun) {
                open.splice(same, 1);
            }
            out.push(t.kind);
            open.push({ kind: t.kind, place: out.length - 1 });
        } else {
            text(t.kind);
        }
    }
    return out;
}

/* ---- ---- */

function inlineText(children: Inline[]): string {
    return children
        .map((c) => (typeof c === 'string' ? c : 'children' in c ? inlineText(c.children) : c.text))
        .join('');
}

function blockText(b: Block): string {
    switch (b.block) {
        case 'text':
            return inlineText(b.children);
        case 'code':
            return b.text;
        case 'quote':
            return b.children.map(blockText).join('\n');
        case 'list':
            return b.items
                .map((item, i) => `${b.start === undefined ? '•' : `${b.start + i}.`} ${inlineText(item)}`)
                .join('\n');
    }
}

/* Without its marks: for previews and announcements. */
export function plainText(text: string): string {
    return parseMessage(text).map(blockText).join('\n');
}

const emoji = /^(?:\p{Extended_Pictographic}(?:\ufe0f|\p{Emoji_Modifier})?(?:\u200d\p{Extended_Pictographic}(?:\ufe0f|\p{Emoji_Modifier})?)*|\p{Regional_Indicator}{2}|[0-9#*]\ufe0f?\u20e3)$/u;

/* One to three emoji and nothing else: shown large. */
export function onlyEmoji(text: string): boolean {
    if (text.length > 60) {
        return false;
    }
    const clusters = [...new Intl.Segmenter(undefined, { granularity: 'grapheme' }).segment(text)]
        .map((s) => s.segment)
        .filter((s) => s.trim() !== '');
    return clusters.length > 0 && clusters.length <= 3 && clusters.every((c) => emoji.test(c));
}
