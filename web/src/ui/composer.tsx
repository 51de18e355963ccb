/*
 * Where messages are written: Enter sends, Shift+Enter makes a line, @ offers people to mention, the
 * emoji picker puts in where the caret is.
 */
import type { Conversation, User } from '@confab/client';
import { OutboxFull } from '@confab/client';
import { useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { AppState } from './app-state.js';
import { loadBegun, loadDraft, saveBegun, saveDraft } from './drafts.js';
import { EmojiPicker } from './emoji-picker.js';
import { plainText } from './markdown.js';
import { matching, mentionAt, mentionedIn, withMention } from './mentions.js';
import type { Mode } from './mode.js';
import { Avatar } from './parts/avatar.js';
import { CheckIcon, CloseIcon, SendIcon, SmileIcon } from './parts/icons.js';
import { t } from './strings.js';

/* Of what is written; and of the window, in which messages are to be seen, too. */
const HEIGHT_MAX = 180;
const SHARE_MAX = 0.3;
const OFFERED_MAX = 6;
/* Of how many members names are asked for, so that they can be found here. */
const NAMES_MAX = 200;

interface Props {
    app: AppState;
    c: Conversation | undefined;
    userId: string | undefined;
    draftKey: string;
    title: string;
    mode: Mode;
    setMode: (mode: Mode) => void;
    /* Goes back to what is kept of an answer or a change. */
    resume: () => void;
    onSend: (text: string, replyTo: string | undefined, mentions: string[]) => void;
    onEditLast: () => void;
}

/* The others of the conversation whose names are known. */
function othersOf(app: AppState, c: Conversation | undefined, userId: string | undefined): User[] {
    app.seen('people');
    const ids = c?.kind === 'group' ? (app.client.members(c.id)?.map((m) => m.userId) ?? []) : userId === undefined ? [] : [userId];
    return ids
        .filter((id) => id !== app.client.userId)
        .slice(0, NAMES_MAX)
        .map((id) => app.client.people.get(id))
        .filter((u): u is User => u !== undefined);
}

export function Composer({ app, c, userId, draftKey, title, mode, setMode, resume, onSend, onEditLast }: Props) {
    const user = app.client.userId;
    const conv = c?.id;
    /* What is not with the server yet was kept here. */
    const begun = () => loadDraft(user, draftKey) || (conv === undefined ? '' : app.client.drafts.get(conv));
    const [text, setText] = useState(begun);
    const [caret, setCaret] = useState(0);
    const [dismissed, setDismissed] = useState<number>();
    const [chosen, setChosen] = useState(0);
    const [picking, setPicking] = useState(false);
    const area = useRef<HTMLTextAreaElement>(null);
    /* Where the caret is to be after the next painting. */
    const moveTo = useRef<number | undefined>(undefined);
    const listId = useId();
    const editing = mode.kind === 'edit' ? mode.of : undefined;

    const mention = mentionAt(text, caret);
    const offered = mention && mention.from !== dismissed ? matching(othersOf(app, c, userId), mention.query, OFFERED_MAX) : [];
    const at = Math.min(chosen, offered.length - 1);

    /* With the mode, not after it: whoever types at once writes into what is to be changed. */
    useLayoutEffect(() => {
        if (mode.kind === 'edit') {
            const kept = loadBegun(user, draftKey);
            const changed = (kept?.id === mode.of.id ? kept.text : undefined) ?? mode.of.content;
            setText(changed);
            moveTo.current = changed.length;
        }
    }, [mode]);
    useEffect(() => {
        if (mode.kind !== 'new') {
            area.current?.focus();
        }
    }, [mode]);

    useEffect(() => {
        /* Where a keyboard would cover the screen it waits to be asked for. */
        if (matchMedia('(pointer: fine)').matches) {
            area.current?.focus();
        }
    }, []);

    /* The server has a draft, or has it no more: one's own from a moment ago, or another device's. */
    const draft = c?.draft ?? '';
    const known = useRef(draft);
    useEffect(() => {
        if (conv !== undefined && !app.client.drafts.pending(conv)) {
            if (draft === loadDraft(user, draftKey)) {
                saveDraft(user, draftKey, '');
            }
            if (mode.kind === 'new') {
                const before = known.current;
                setText((now) => (now === before ? draft : now)); /* what is being typed stays */
            }
        }
        known.current = draft;
    }, [draft]);
    useEffect(
        () => () => {
            if (conv !== undefined) {
                app.client.drafts.flush(conv);
            }
        },
        [conv],
    );

    useLayoutEffect(() => {
        const el = area.current;
        if (el) {
            el.style.height = 'auto';
            el.style.height = `${Math.min(el.scrollHeight, HEIGHT_MAX, window.innerHeight * SHARE_MAX)}px`;
            if (moveTo.current !== undefined) {
                el.setSelectionRange(moveTo.current, moveTo.current);
                setCaret(moveTo.current);
                moveTo.current = undefined;
            }
        }
    }, [text]);

    const change = (value: string) => {
        setText(value);
        setChosen(0);
        if (mode.kind === 'edit') {
            saveBegun(user, draftKey, { kind: 'edit', id: mode.of.id, text: value });
        } else {
            saveDraft(user, draftKey, value);
            if (conv !== undefined) {
                app.client.drafts.set(conv, value);
            }
        }
    };
    const target = conv !== undefined ? { conversation: conv } : userId === undefined ? undefined : { user: userId };
    const typed = (value: string) => {
        change(value);
        if (target && mode.kind !== 'edit') {
            app.client.typing.typed(target, value.trim() === '');
        }
    };
    const followCaret = () => setCaret(area.current?.selectionStart ?? 0);
    const leaveMode = () => {
        if (mode.kind === 'edit') {
            setText(begun());
        }
        setMode({ kind: 'new' });
        area.current?.focus();
    };
    const send = () => {
        const content = text.trim();
        if (content === '') {
            return;
        }
        if (new TextEncoder().encode(content).length > app.client.textBytesMax) {
            app.tell(t.tooLong);
            return;
        }
        if (editing) {
            leaveMode();
            if (content !== editing.content) {
                void app.attempt(() => app.client.rest.editMessage(editing.id, content)).then((done) => {
                    /* It could not be changed: back to it, unless something else was begun. */
                    if (!done && loadBegun(user, draftKey) === undefined) {
                        saveBegun(user, draftKey, { kind: 'edit', id: editing.id, text: content });
                        resume();
                    }
                });
            }
            return;
        }
        try {
            onSend(content, mode.kind === 'reply' ? mode.to.id : undefined, mentionedIn(content, othersOf(app, c, userId)));
        } catch (e) {
            if (e instanceof OutboxFull) {
                app.tell(t.outboxFull);
                return;
            }
            throw e;
        }
        change('');
        if (target) {
            app.client.typing.sent(target);
        }
        setPicking(false);
        if (mode.kind === 'reply') {
            setMode({ kind: 'new' });
        }
        area.current?.focus();
    };
    const putMention = (who: User) => {
        if (mention) {
            const put = withMention(text, mention.from, caret, who.username);
            moveTo.current = put.caret;
            change(put.text);
            area.current?.focus();
        }
    };
    const putEmoji = (emoji: string) => {
        const el = area.current;
        const from = el?.selectionStart ?? text.length;
        moveTo.current = from + emoji.length;
        change(text.slice(0, from) + emoji + text.slice(el?.selectionEnd ?? from));
    };
    const onMentionKey = (e: KeyboardEvent): boolean => {
        const who = offered[at];
        if (!who || !mention) {
            return false;
        }
        if (e.key === 'ArrowDown' || e.key === 'ArrowUp') {
            setChosen((at + (e.key === 'ArrowDown' ? 1 : offered.length - 1)) % offered.length);
        } else if (e.key === 'Enter' || e.key === 'Tab') {
            putMention(who);
        } else if (e.key === 'Escape') {
            setDismissed(mention.from);
        } else {
            return false;
        }
        return true;
    };
    const onKey = (e: KeyboardEvent) => {
        if (e.isComposing) {
            return;
        }
        if (onMentionKey(e)) {
            e.preventDefault();
        } else if (e.key === 'Enter' && !e.shiftKey && !e.altKey) {
            e.preventDefault();
            send();
        } else if (e.key === 'Escape' && mode.kind !== 'new') {
            e.preventDefault();
            leaveMode();
        } else if (e.key === 'ArrowUp' && text === '' && mode.kind === 'new') {
            e.preventDefault();
            onEditLast();
        }
    };
    const closePicker = () => {
        setPicking(false);
        area.current?.focus();
    };
    return (
        <div class="composer">
            {mode.kind !== 'new' && (
                <div class="composer-mode">
                    <span class="composer-bar">
                        <span class="quote-name">
                            {mode.kind === 'edit'
                                ? t.editing
                                : t.replyingTo(mode.to.from === user ? t.you : app.nameOf(mode.to.from))}
                        </span>
                        <span class="quote-text" dir="auto">
                            {plainText((mode.kind === 'edit' ? mode.of : mode.to).content.slice(0, 300))}
                        </span>
                    </span>
                    <button type="button" class="icon-button" aria-label={t.cancel} title={t.cancel} onClick={leaveMode}>
                        <CloseIcon />
                    </button>
                </div>
            )}
            {offered.length > 0 && (
                <ul class="mention-list" role="listbox" id={listId} aria-label={t.talk.mentionPeople}>
                    {offered.map((u, i) => (
                        <li key={u.userId} id={`${listId}-${i}`} role="option" aria-selected={i === at}
                            class={`mention-option ${i === at ? 'mention-chosen' : ''}`} data-test="mention-option"
                            onPointerDown={(e) => {
                                e.preventDefault();
                                putMention(u);
                            }}>
                            <Avatar id={u.userId} name={u.displayName} size="small" />
                            <span class="mention-name" dir="auto">{u.displayName}</span>
                            <span class="mention-username">@{u.username}</span>
                        </li>
                    ))}
                </ul>
            )}
            {picking && <EmojiPicker onPick={putEmoji} onClose={closePicker} />}
            <form
                class="composer-row"
                onSubmit={(e) => {
                    e.preventDefault();
                    send();
                }}
            >
                <button type="button" class="icon-button emoji-button" aria-label={t.talk.emoji} title={t.talk.emoji}
                    aria-haspopup="dialog" aria-expanded={picking} onClick={() => (picking ? closePicker() : setPicking(true))}>
                    <SmileIcon />
                </button>
                <textarea
                    ref={area}
                    rows={1}
                    /* As long as nothing is written the hint has the page's direction. */
                    dir={text === '' ? undefined : 'auto'}
                    aria-label={t.composer}
                    placeholder={t.composerHint(title)}
                    value={text}
                    {...(offered.length > 0
                        ? { 'aria-controls': listId, 'aria-activedescendant': `${listId}-${at}`, 'aria-autocomplete': 'list' as const }
                        : {})}
                    onInput={(e) => {
                        typed(e.currentTarget.value);
                        followCaret();
                    }}
                    onKeyUp={followCaret}
                    onClick={followCaret}
                    onKeyDown={onKey}
                />
                <button type="submit" class="send" aria-label={editing ? t.save : t.send}
                    title={editing ? t.save : t.send} disabled={text.trim() === ''}>
                    {editing ? <CheckIcon /> : <SendIcon />}
                </button>
            </form>
        </div>
    );
}
