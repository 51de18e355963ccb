/* The audit record: who did what to accounts, invitations and settings. */
import { AdminApi, type AuditRecord } from '@confab/client';
import type { AppState } from '../app-state.js';
import { usePages } from '../parts/pages.js';
import { agoText, exactText, t } from '../strings.js';

export function AuditView({ app }: { app: AppState }) {
    const api = new AdminApi(app.client.rest);
    const records = usePages((cursor) => api.audit(cursor));
    return (
        <>
            <p class="lead">{t.auditHint}</p>
            {records.state}
            {records.list.length === 0 && !records.state && <p class="hint">{t.nothingYet}</p>}
            <ol class="cards">
                {records.list.map((r) => (
                    <Line key={r.id} app={app} r={r} />
                ))}
            </ol>
            {records.more}
        </>
    );
}

function Line({ app, r }: { app: AppState; r: AuditRecord }) {
    /* A target is a person only where an account is concerned. */
    const whom = r.action.startsWith('account.') && r.target !== undefined && r.target !== r.actor ? app.nameOf(r.target) : undefined;
    const who = r.actor === undefined ? t.server : app.nameOf(r.actor);
    const more = [whom, r.detail, r.address].filter((x) => x !== undefined && x !== '');
    return (
        <li class="card" data-test="record">
            <div class="card-head">
                <div class="card-text">
                    <p class="audit-line" dir="auto">
                        <strong>{who}</strong> {t.auditActions[r.action] ?? r.action}
                    </p>
                    {more.length > 0 && <p class="person-user" dir="auto">{more.join(' · ')}</p>}
                </div>
                <time class="row-time" dateTime={new Date(r.at).toISOString()} title={exactText(r.at)}>
                    {agoText(r.at, Date.now())}
                </time>
            </div>
        </li>
    );
}
