/*
 * What the composer does: something new, an answer, a change. It belongs to the draft of its
 * conversation: whoever leaves in the middle of an answer comes back to it, after a reload too.
 */
import type { Conversation, MessageItem } from '@confab/client';
import { useEffect, useState } from 'preact/hooks';
import type { AppState } from './app-state.js';
import { type Begun, loadBegun, loadDraft, saveBegun, saveDraft } from './drafts.js';
import { t } from './strings.js';

export type Mode = { kind: 'new' } | { kind: 'reply'; to: MessageItem } | { kind: 'edit'; of: MessageItem };

interface Held {
    mode: Mode;
    setMode: (mode: Mode) => void;
    /* Goes on with what is kept, as after a reload. */
    resume: () => void;
    /* Another one each time the draft was changed from outside the composer. */
    version: number;
}

export function useMode(app: AppState, c: Conversation | undefined, draftKey: string): Held {
    const user = app.client.userId;
    const [mode, change] = useState<Mode>({ kind: 'new' });
    const [kept, setKept] = useState<Begun | undefined>(() => loadBegun(user, draftKey));
    const [version, setVersion] = useState(0);
    const looking = kept && c;
    if (looking) {
        app.seen(`timeline:${c.id}`);
    }
    const found = looking ? app.client.original(c.id, kept.id) : undefined;
    useEffect(() => {
        if (!kept || found === undefined) {
            return;
        }
        setKept(undefined);
        if (found !== 'gone' && !found.deleted) {
            change(kept.kind === 'edit' ? { kind: 'edit', of: found } : { kind: 'reply', to: found });
            return;
        }
        saveBegun(user, draftKey, undefined);
        app.tell(t.talk.gone);
        /* What was written is not lost with it. */
        if (kept.text !== undefined && loadDraft(user, draftKey) === '') {
            saveDraft(user, draftKey, kept.text);
            setVersion(version + 1);
        }
    }, [found]);
    const setMode = (next: Mode) => {
        setKept(undefined);
        saveBegun(
            user,
            draftKey,
            next.kind === 'reply' ? { kind: 'reply', id: next.to.id } : next.kind === 'edit' ? { kind: 'edit', id: next.of.id } : undefined,
        );
        change(next);
    };
    return { mode, setMode, resume: () => setKept(loadBegun(user, draftKey)), version };
}
