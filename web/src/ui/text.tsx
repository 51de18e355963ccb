/*
 * A message's text as DOM nodes: never HTML. Addresses become links that open elsewhere and tell
 * nothing of where they came from.
 */
import type { ComponentChildren } from 'preact';

const address = /\bhttps?:\/\/[^\s<>"']+/g;

export type Piece = { text: string } | { link: string };

export function pieces(text: string): Piece[] {
    const out: Piece[] = [];
    let at = 0;
    for (const match of text.matchAll(address)) {
        /* A full stop or a bracket after an address belongs to the sentence. */
        let link = match[0].replace(/[.,;:!?]+$/, '');
        while (/[)\]}]$/.test(link) && !balanced(link)) {
            link = link.slice(0, -1);
        }
        if (!URL.canParse?.(link) && !parses(link)) {
            continue;
        }
        if (match.index > at) {
            out.push({ text: text.slice(at, match.index) });
        }
        out.push({ link });
        at = match.index + link.length;
    }
    if (at < text.length) {
        out.push({ text: text.slice(at) });
    }
    return out;
}

function parses(link: string): boolean {
    try {
        return new URL(link).hostname !== '';
    } catch {
        return false;
    }
}

function balanced(link: string): boolean {
    const count = (chars: string): number => [...link].filter((c) => chars.includes(c)).length;
    return count('([{') === count(')]}');
}

export function MessageText({ text }: { text: string }): ComponentChildren {
    return pieces(text).map((p, i) =>
        'link' in p ? (
            <a key={i} href={p.link} target="_blank" rel="noopener noreferrer nofollow">
                {p.link}
            </a>
        ) : (
            p.text
        ),
    );
}
