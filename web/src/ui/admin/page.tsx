/* For administrators: people, invitations, the server, the record. Loaded when it is opened. */
import type { AppState } from '../app-state.js';
import { type Section, SectionsPane } from '../parts/sections.js';
import { t } from '../strings.js';
import { AuditView } from './audit.js';
import { Invites } from './invites.js';
import { AdminPeople } from './people.js';
import { ServerView } from './server.js';

export function AdminPane({ app, section }: { app: AppState; section: string }) {
    app.seen('account');
    const sections: Section[] = [
        { id: 'people', label: t.people },
        { id: 'invites', label: t.invites },
        { id: 'server', label: t.server },
        { id: 'audit', label: t.audit },
    ];
    const current = sections.some((s) => s.id === section) ? section : 'people';
    if (app.client.me?.role !== 'admin') {
        return (
            <SectionsPane title={t.administration} root="#/admin" sections={[]} current="">
                <p class="lead">{t.adminOnly}</p>
            </SectionsPane>
        );
    }
    return (
        <SectionsPane title={t.administration} root="#/admin" sections={sections} current={current}>
            {current === 'invites' ? (
                <Invites app={app} />
            ) : current === 'server' ? (
                <ServerView app={app} />
            ) : current === 'audit' ? (
                <AuditView app={app} />
            ) : (
                <AdminPeople app={app} />
            )}
        </SectionsPane>
    );
}
