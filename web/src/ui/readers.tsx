/* Who has got and read a message. */
import type { MessageItem, Reader } from '@confab/client';
import { useEffect, useState } from 'preact/hooks';
import type { AppState } from './app-state.js';
import { Avatar } from './parts/avatar.js';
import { Modal } from './parts/modal.js';
import { exactText, problemText, t } from './strings.js';

function People({ app, title, list, at }: { app: AppState; title: string; list: Reader[]; at: (r: Reader) => number | undefined }) {
    return list.length === 0 ? null : (
        <section class="readers">
            <h3 class="readers-title">{title}</h3>
            <ul>
                {list.map((r) => {
                    const name = app.nameOf(r.userId);
                    const when = at(r);
                    return (
                        <li key={r.userId} class="reader" data-test="reader">
                            <Avatar id={r.userId} name={name} size="small" />
                            <span class="reader-name" dir="auto">{name}</span>
                            {when !== undefined && <span class="reader-time">{exactText(when)}</span>}
                        </li>
                    );
                })}
            </ul>
        </section>
    );
}

export function Readers({ app, conv, item, onClose }: { app: AppState; conv: string; item: MessageItem; onClose: () => void }) {
    const [all, setAll] = useState<Reader[]>();
    const [next, setNext] = useState<string>();
    const [counts, setCounts] = useState({ recipients: 0, delivered: 0, read: 0 });
    const [problem, setProblem] = useState<string>();
    const load = (cursor?: string) => {
        app.client.rest.readers(item.id, cursor).then(
            (page) => {
                setAll((before) => [...(cursor === undefined ? [] : (before ?? [])), ...page.readers]);
                setNext(page.next);
                setCounts(page);
                setProblem(undefined);
            },
            (e: unknown) => setProblem(problemText(e)),
        );
    };
    /* Again when somebody has got further. */
    app.seen(`timeline:${conv}`);
    const peers = app.client.conversation(conv)?.peers;
    useEffect(() => load(), [peers]);
    const mine = item.from === app.client.userId;
    const others = all?.filter((r) => r.userId !== app.client.userId) ?? [];
    return (
        <Modal title={t.talk.info} onClose={onClose}>
            <p class="readers-text" dir="auto">{item.content}</p>
            <p class="hint">
                {t.talk.sentAt(exactText(item.sentAt))}
                {item.editedAt !== undefined && ` · ${t.talk.editedAt(exactText(item.editedAt))}`}
            </p>
            {problem !== undefined && <p class="form-problem" role="alert">{problem}</p>}
            {!all && problem === undefined && <p class="list-note" role="status">{t.loading}</p>}
            {all && <p class="readers-count" role="status">{t.talk.readCount(counts.read, String(counts.recipients))}</p>}
            {all && others.length === 0 && counts.recipients > 1 && <p class="hint">{t.talk.tooManyReaders}</p>}
            <People app={app} title={t.status.read} list={others.filter((r) => r.readAt !== undefined)} at={(r) => r.readAt} />
            <People app={app} title={t.status.delivered} at={(r) => r.deliveredAt}
                list={others.filter((r) => r.readAt === undefined && r.deliveredAt !== undefined)} />
            <People app={app} title={mine ? t.talk.notDelivered : t.status.sent} at={() => undefined}
                list={others.filter((r) => r.deliveredAt === undefined)} />
            {next !== undefined && (
                <button type="button" class="plain wide" onClick={() => load(next)}>{t.talk.more}</button>
            )}
        </Modal>
    );
}
