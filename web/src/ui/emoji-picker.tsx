/*
 * The emoji picker: a search box and a grid, all by keyboard: arrows move in the grid, Enter takes
 * one, Escape closes. What it shows is loaded when it is first opened.
 */
import { signal } from '@preact/signals';
import { useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { type Emoji, type EmojiGroup, emojiGroups, findEmoji, readEmoji, recent } from './emoji.js';
import { readLocal, writeLocal } from '../platform/local.js';
import { language, t } from './strings.js';

const RECENT = 'confab-emoji';
const RECENT_MAX = 18;
const FOUND_MAX = 120;
const COLUMNS = 8;

const loaded = signal<{ language: string; all: Emoji[] } | undefined>(undefined);

async function load(): Promise<void> {
    const code = language();
    if (loaded.value?.language === code) {
        return;
    }
    const english = (await import('confab:emoji/en')).default;
    const own =
        code === 'de'
            ? (await import('confab:emoji/de')).default
            : code === 'es'
              ? (await import('confab:emoji/es')).default
              : code === 'ja'
                ? (await import('confab:emoji/ja')).default
                : undefined;
    loaded.value = { language: code, all: own === undefined ? readEmoji(english) : readEmoji(own, english) };
}

function recentOnes(): string[] {
    return (readLocal(RECENT) ?? '').split(' ').filter(Boolean);
}

interface Section {
    title: string;
    list: { emoji: string; name: string }[];
}

function sections(all: Emoji[], query: string): Section[] {
    if (query.trim() !== '') {
        return [{ title: t.talk.emojiFound, list: findEmoji(all, query, FOUND_MAX) }];
    }
    const names = new Map(all.map((e) => [e.emoji, e.name]));
    const used = recentOnes().map((emoji) => ({ emoji, name: names.get(emoji) ?? emoji }));
    return [
        ...(used.length > 0 ? [{ title: t.talk.emojiRecent, list: used }] : []),
        ...emojiGroups.map((g: EmojiGroup) => ({ title: t.talk.emojiGroups[g], list: all.filter((e) => e.group === g) })),
    ];
}

export function EmojiPicker({ onPick, onClose }: { onPick: (emoji: string) => void; onClose: () => void }) {
    const [query, setQuery] = useState('');
    const [failed, setFailed] = useState(false);
    const root = useRef<HTMLDivElement>(null);
    const input = useRef<HTMLInputElement>(null);
    const id = useId();
    useEffect(() => {
        load().catch(() => setFailed(true));
        input.current?.focus();
        const away = (e: Event) => {
            if (e.target instanceof Element && !root.current?.contains(e.target) && !e.target.closest('.emoji-button')) {
                onClose();
            }
        };
        document.addEventListener('pointerdown', away);
        return () => document.removeEventListener('pointerdown', away);
    }, []);
    useLayoutEffect(() => {
        root.current?.querySelector('.emoji-grid')?.scrollTo(0, 0);
    }, [query]);
    const all = loaded.value?.all;
    const pick = (emoji: string) => {
        writeLocal(RECENT, recent(recentOnes(), emoji, RECENT_MAX).join(' '));
        onPick(emoji);
    };
    const onKey = (e: KeyboardEvent) => {
        const buttons = [...(root.current?.querySelectorAll<HTMLButtonElement>('.emoji') ?? [])];
        const at = buttons.findIndex((b) => b === document.activeElement);
        const step: Record<string, number> = { ArrowDown: COLUMNS, ArrowUp: -COLUMNS, ArrowRight: 1, ArrowLeft: -1 };
        const rtl = document.documentElement.dir === 'rtl' && e.key !== 'ArrowDown' && e.key !== 'ArrowUp';
        const move = (step[e.key] ?? 0) * (rtl ? -1 : 1);
        if (e.key === 'Escape') {
            onClose();
        } else if (e.key === 'Enter' && at < 0 && buttons[0]) {
            buttons[0].click();
        } else if (at < 0 && e.key === 'ArrowDown') {
            buttons[0]?.focus();
        } else if (at >= 0 && move !== 0) {
            const to = at + move;
            (to < 0 ? input.current : (buttons[to] ?? buttons.at(-1)))?.focus();
        } else {
            return;
        }
        e.preventDefault();
        e.stopPropagation();
    };
    const shown = all ? sections(all, query) : [];
    return (
        <div class="emoji-picker" role="dialog" aria-label={t.talk.emoji} ref={root} onKeyDown={onKey}>
            <input type="search" ref={input} class="emoji-search" aria-label={t.talk.emojiSearch} autocomplete="off"
                placeholder={t.talk.emojiSearch} value={query} onInput={(e) => setQuery(e.currentTarget.value)} />
            <div class="emoji-grid" tabIndex={-1}>
                {!all && <p class="list-note">{failed ? t.loadFailed : t.loading}</p>}
                {all && shown.every((s) => s.list.length === 0) && <p class="list-note" role="status">{t.talk.emojiNone}</p>}
                {shown
                    .filter((s) => s.list.length > 0)
                    .map((s, i) => (
                        <div key={s.title} role="group" aria-labelledby={`${id}-${i}`}>
                            <h3 id={`${id}-${i}`} class="emoji-title">{s.title}</h3>
                            <div class="emoji-cells">
                                {s.list.map((e, k) => (
                                    <button key={`${e.emoji}${k}`} type="button" class="emoji" title={e.name} aria-label={e.name}
                                        tabIndex={i === 0 && k === 0 ? 0 : -1} onClick={() => pick(e.emoji)}>
                                        {e.emoji}
                                    </button>
                                ))}
                            </div>
                        </div>
                    ))}
            </div>
        </div>
    );
}
