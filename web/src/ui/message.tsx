/* One message, or one that is still on its way. */
import type { Conversation, MessageItem } from '@confab/client';
import type { AppState } from './app-state.js';
import { Avatar } from './parts/avatar.js';
import { MoreIcon, type Progress, Ticks } from './parts/icons.js';
import { MenuButton, type MenuItem } from './parts/menu.js';
import type { Outgoing } from './rows.js';
import { exactText, t, timeText } from './strings.js';
import { MessageText } from './text.js';

export interface MessageActions {
    onReply: (item: MessageItem) => void;
    onEdit: (item: MessageItem) => void;
    onJump: (id: string) => void;
    find: (id: string) => MessageItem | undefined;
}

interface Shape {
    mine: boolean;
    first: boolean;
    last: boolean;
}

function classes(s: Shape, extra = ''): string {
    return `message ${s.mine ? 'mine' : 'theirs'} ${s.first ? 'first' : ''} ${s.last ? 'last' : ''} ${extra}`;
}

function Quote({ app, item, onJump }: { app: AppState; item: MessageItem | undefined; onJump?: () => void }) {
    const who = item ? app.nameOf(item.from) : '';
    return (
        <button type="button" class="quote" tabIndex={-1} disabled={!onJump} onClick={onJump}
            aria-label={item ? t.repliedTo(who) : t.originalMissing}>
            {item ? (
                <>
                    <span class="quote-name">{who}</span>
                    <span class="quote-text" dir="auto">{item.deleted ? t.deleted : item.content}</span>
                </>
            ) : (
                <span class="quote-text">{t.originalMissing}</span>
            )}
        </button>
    );
}

export function Message({
    app,
    c,
    item,
    first,
    last,
    actions,
    focusable,
}: {
    app: AppState;
    c: Conversation;
    item: MessageItem;
    first: boolean;
    last: boolean;
    actions: MessageActions;
    focusable: boolean;
}) {
    const { client } = app;
    const mine = item.from === client.userId;
    const name = mine ? t.you : app.nameOf(item.from);
    const grouped = c.kind === 'group' && !mine;
    const mayDelete = mine || (c.kind === 'group' && c.role !== 'member' && c.role !== 'guest');
    const status: Progress = mine ? client.status(c, item.seq) : 'sent';
    const menu: MenuItem[] = item.deleted
        ? []
        : [
              { label: t.reply, onPick: () => actions.onReply(item) },
              { label: t.copyText, onPick: () => void copyText(app, item.content) },
              ...(mine ? [{ label: t.edit, onPick: () => actions.onEdit(item) }] : []),
          ];
    menu.push({
        label: t.deleteForMe,
        danger: true,
        onPick: () => void app.attempt(() => client.rest.deleteMessage(item.id, 'me')),
    });
    if (mayDelete && !item.deleted) {
        menu.push({
            label: t.deleteForAll,
            danger: true,
            onPick: () => void app.attempt(() => client.rest.deleteMessage(item.id, 'everyone')),
        });
    }
    return (
        <li
            class={classes({ mine, first, last }, grouped ? 'grouped' : '')}
            data-seq={item.seq}
            data-test="message"
            data-id={item.id}
            tabIndex={focusable ? 0 : -1}
        >
            {grouped && last && <Avatar id={item.from} name={name} size="small" />}
            <div class="bubble">
                {(first || undefined) && !mine && c.kind === 'group' ? (
                    <span class="sender" dir="auto">{name}</span>
                ) : (
                    <span class="unseen">{name}: </span>
                )}
                {item.replyTo !== undefined && (
                    <Quote app={app} item={actions.find(item.replyTo)}
                        onJump={() => item.replyTo !== undefined && actions.onJump(item.replyTo)} />
                )}
                <div class={`text ${item.deleted ? 'text-deleted' : ''}`} dir="auto">
                    {item.deleted ? t.deleted : <MessageText text={item.content} />}
                </div>
                <span class="meta">
                    {item.editedAt !== undefined && !item.deleted && (
                        <span class="edited" title={exactText(item.editedAt)}>{t.edited}</span>
                    )}
                    <time dateTime={new Date(item.sentAt).toISOString()} title={exactText(item.sentAt)}>
                        {timeText(item.sentAt)}
                    </time>
                    {mine && !item.deleted && <Ticks progress={status} label={t.status[status]} />}
                </span>
            </div>
            <MenuButton label={t.messageMenu} items={menu} class="message-menu" tabIndex={-1}>
                <MoreIcon size={18} />
            </MenuButton>
        </li>
    );
}

export function OutgoingMessage({
    app,
    out,
    first,
    last,
    actions,
}: {
    app: AppState;
    out: Outgoing;
    first: boolean;
    last: boolean;
    actions: MessageActions;
}) {
    const { entry, state } = out;
    return (
        <li class={classes({ mine: true, first, last }, `waiting-${state}`)} data-test="outgoing" tabIndex={-1}>
            <div class="bubble">
                <span class="unseen">{t.you}: </span>
                {entry.replyTo !== undefined && <Quote app={app} item={actions.find(entry.replyTo)} />}
                <div class="text" dir="auto">
                    <MessageText text={entry.content} />
                </div>
                <span class="meta">
                    <time dateTime={new Date(entry.createdAt).toISOString()}>{timeText(entry.createdAt)}</time>
                    <Ticks progress={state} label={t.status[state]} />
                </span>
                {entry.failed && (
                    <span class="failed-row">
                        <span class="failed-why">{t.status.failed}: {entry.failed.message}</span>
                        <button type="button" class="link" onClick={() => app.client.retrySend(entry.clientMsgId)}>
                            {t.tryAgain}
                        </button>
                        <button type="button" class="link" onClick={() => app.client.dropSend(entry.clientMsgId)}>
                            {t.discard}
                        </button>
                    </span>
                )}
            </div>
        </li>
    );
}

export async function copyText(app: AppState, text: string): Promise<void> {
    try {
        await navigator.clipboard.writeText(text);
    } catch {
        /* Only secure contexts have a clipboard: the old way. */
        const area = document.createElement('textarea');
        area.value = text;
        area.className = 'unseen';
        document.body.append(area);
        area.select();
        document.execCommand('copy');
        area.remove();
    }
    app.tell(t.copied);
}
