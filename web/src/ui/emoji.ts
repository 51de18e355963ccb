/*
 * Emoji by group and by words, in the reader's language and in English. The data are modules of
 * their own (tools/emoji.mjs), loaded when they are first asked for.
 */
export interface Emoji {
    emoji: string;
    name: string;
    words: string;
    group: number;
}

/* In the order in which they are shown; the data's own numbers. */
export const emojiGroups = [0, 1, 3, 4, 5, 6, 7, 8, 9] as const;
export type EmojiGroup = (typeof emojiGroups)[number];

function folded(s: string): string {
    return s.normalize('NFD').replace(/\p{M}/gu, '').toLocaleLowerCase();
}

/* `english` adds its words where the language has some of its own. */
export function readEmoji(lines: string, english?: string): Emoji[] {
    const more = new Map(
        (english ?? '').split('\n').map((line): [string, string] => {
            const [emoji = '', name = '', words = ''] = line.split('\t');
            return [emoji, `${name} ${words}`];
        }),
    );
    return lines.split('\n').map((line) => {
        const [emoji = '', name = '', words = '', group = '0'] = line.split('\t');
        return { emoji, name, words: ` ${folded(`${name} ${words} ${more.get(emoji) ?? ''}`)}`, group: Number(group) };
    });
}

/* Those of which every word of the query begins a word, in their usual order. */
export function findEmoji(all: readonly Emoji[], query: string, max: number): Emoji[] {
    const wanted = folded(query).split(/\s+/).filter(Boolean);
    return wanted.length === 0 ? [] : all.filter((e) => wanted.every((w) => e.words.includes(` ${w}`))).slice(0, max);
}

/* Those used last come first; at most so many. */
export function recent(list: readonly string[], used: string, max: number): string[] {
    return [used, ...list.filter((e) => e !== used)].slice(0, max);
}
