/* Where messages are written: Enter sends, Shift+Enter makes a line. */
import type { MessageItem } from '@confab/client';
import { OutboxFull } from '@confab/client';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { AppState } from './app-state.js';
import { loadDraft, saveDraft } from './drafts.js';
import { CheckIcon, CloseIcon, SendIcon } from './parts/icons.js';
import { t } from './strings.js';

export type Mode = { kind: 'new' } | { kind: 'reply'; to: MessageItem } | { kind: 'edit'; of: MessageItem };

const HEIGHT_MAX = 180;

export function Composer({
    app,
    draftKey,
    title,
    mode,
    setMode,
    onSend,
    onEditLast,
}: {
    app: AppState;
    draftKey: string;
    title: string;
    mode: Mode;
    setMode: (mode: Mode) => void;
    onSend: (text: string, replyTo: string | undefined) => void;
    onEditLast: () => void;
}) {
    const user = app.client.userId;
    const [text, setText] = useState(() => loadDraft(user, draftKey));
    const area = useRef<HTMLTextAreaElement>(null);
    const editing = mode.kind === 'edit' ? mode.of : undefined;

    useEffect(() => {
        if (mode.kind === 'edit') {
            setText(mode.of.content);
        }
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

    useLayoutEffect(() => {
        const el = area.current;
        if (el) {
            el.style.height = 'auto';
            el.style.height = `${Math.min(el.scrollHeight, HEIGHT_MAX)}px`;
        }
    }, [text]);

    const change = (value: string) => {
        setText(value);
        if (mode.kind !== 'edit') {
            saveDraft(user, draftKey, value);
        }
    };
    const leaveMode = () => {
        if (mode.kind === 'edit') {
            setText(loadDraft(user, draftKey));
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
                void app.attempt(() => app.client.rest.editMessage(editing.id, content));
            }
            return;
        }
        try {
            onSend(content, mode.kind === 'reply' ? mode.to.id : undefined);
        } catch (e) {
            if (e instanceof OutboxFull) {
                app.tell(t.outboxFull);
                return;
            }
            throw e;
        }
        change('');
        if (mode.kind === 'reply') {
            setMode({ kind: 'new' });
        }
        area.current?.focus();
    };
    const onKey = (e: KeyboardEvent) => {
        if (e.key === 'Enter' && !e.shiftKey && !e.isComposing && !e.altKey) {
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
                            {mode.kind === 'edit' ? mode.of.content : mode.to.content}
                        </span>
                    </span>
                    <button type="button" class="icon-button" aria-label={t.cancel} title={t.cancel} onClick={leaveMode}>
                        <CloseIcon />
                    </button>
                </div>
            )}
            <form
                class="composer-row"
                onSubmit={(e) => {
                    e.preventDefault();
                    send();
                }}
            >
                <textarea
                    ref={area}
                    rows={1}
                    dir="auto"
                    aria-label={t.composer}
                    placeholder={t.composerHint(title)}
                    value={text}
                    onInput={(e) => change(e.currentTarget.value)}
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
