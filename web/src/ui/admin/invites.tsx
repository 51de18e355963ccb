/* Everybody's invitations; new ones with their limits, link and QR code. */
import { AdminApi, type Invite, type InviteLink } from '@confab/client';
import { useState } from 'preact/hooks';
import type { AppState } from '../app-state.js';
import { copyText } from '../message.js';
import { Field } from '../parts/field.js';
import { usePages } from '../parts/pages.js';
import { Choice } from '../parts/sections.js';
import { dateText, t } from '../strings.js';
import { QrCode } from './qr.js';

const DAY = 86_400;
const USES = ['1', '5', '10', '50', '100'] as const;
const DAYS = ['1', '7', '30', '365'] as const;

export function Invites({ app }: { app: AppState }) {
    const api = new AdminApi(app.client.rest);
    const invites = usePages((cursor) => api.invites(cursor));
    const revoke = (i: Invite) =>
        (app.question.value = {
            title: t.inviteRevoke,
            text: t.inviteRevokeQuestion,
            action: t.inviteRevoke,
            onYes: () => void app.attempt(() => api.revokeInvite(i.inviteId)).then(invites.again),
        });
    return (
        <>
            <NewInvite app={app} api={api} onMade={invites.again} />
            <div class="block">
                {invites.state}
                {invites.list.length === 0 && !invites.state && <p class="hint">{t.invitesNone}</p>}
                <ul class="cards">
                    {invites.list.map((i) => (
                        <InviteCard key={i.inviteId} app={app} invite={i} onRevoke={() => revoke(i)} />
                    ))}
                </ul>
                {invites.more}
            </div>
        </>
    );
}

function InviteCard({ app, invite, onRevoke }: { app: AppState; invite: Invite; onRevoke: () => void }) {
    const by = invite.createdBy === undefined ? undefined : app.nameOf(invite.createdBy);
    const facts = [
        t.inviteUsed(invite.uses, invite.usesMax),
        ...(invite.expiresAt === undefined ? [] : [t.inviteUntil(dateText(invite.expiresAt))]),
        ...(invite.administrator ? [t.inviteAdmin] : []),
    ];
    return (
        <li class="card" data-test="invite">
            <div class="card-head">
                <div class="card-text">
                    <p class="person-name" dir="auto">{invite.note === '' ? (by ?? t.inviteLink) : invite.note}</p>
                    <p class="person-user">{facts.join(' · ')}</p>
                </div>
                <span class={`tag ${invite.state === 'valid' ? '' : 'tag-warn'}`}>{t.inviteState[invite.state]}</span>
                {invite.state === 'valid' && (
                    <button type="button" class="link danger" onClick={onRevoke}>{t.inviteRevoke}</button>
                )}
            </div>
        </li>
    );
}

function NewInvite({ app, api, onMade }: { app: AppState; api: AdminApi; onMade: () => void }) {
    const [uses, setUses] = useState<(typeof USES)[number]>('10');
    const [days, setDays] = useState<(typeof DAYS)[number]>('7');
    const [note, setNote] = useState('');
    const [link, setLink] = useState<InviteLink>();
    const [busy, setBusy] = useState(false);
    const make = async () => {
        setBusy(true);
        await app.attempt(async () => {
            setLink(await api.invite(Number(uses), Number(days) * DAY, note.trim()));
            setNote('');
            onMade();
        });
        setBusy(false);
    };
    return (
        <form
            onSubmit={(e) => {
                e.preventDefault();
                void make();
            }}
        >
            <h4 class="block-title">{t.inviteNew}</h4>
            <p class="lead">{t.inviteHint}</p>
            <div class="field-pair">
                <Choice label={t.inviteUses} value={uses} options={USES.map((n) => [n, n])} onChange={setUses} />
                <Choice label={t.inviteExpires} value={days} options={DAYS.map((n) => [n, t.days(Number(n))])} onChange={setDays} />
            </div>
            <Field label={t.inviteNote} value={note} onValue={setNote} maxLength={100} />
            <button type="submit" class="primary" disabled={busy}>{t.makeLink}</button>
            {link && (
                <div class="invite-made" role="status">
                    <QrCode text={link.link} label={t.qrCode} />
                    <div class="copy-row">
                        <input readOnly aria-label={t.inviteLink} value={link.link} dir="ltr" data-test="invite-link"
                            onFocus={(e) => e.currentTarget.select()} />
                        <button type="button" class="plain" onClick={() => void copyText(app, link.link)}>{t.copy}</button>
                    </div>
                </div>
            )}
        </form>
    );
}
