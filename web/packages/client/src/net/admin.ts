/* What administrators do over REST: people, invites, settings, the audit record, the server's state. */
import { decodeUser, type Fields, fieldsOf, listOf, numberOr, text, textOr, timeOr, type User } from '../wire.js';
import { ApiError } from './auth.js';
import type { InviteLink, Rest } from './rest.js';

export type UserStatus = 'active' | 'suspended' | 'deleted';
export type RegistrationMode = 'open' | 'invite' | 'closed';

export interface AdminUser extends User {
    status: UserStatus;
    devices: number;
    createdAt: number | undefined;
}

export interface Invite {
    inviteId: string;
    state: 'valid' | 'used' | 'expired' | 'revoked';
    administrator: boolean;
    uses: number;
    /* 0: without a limit. */
    usesMax: number;
    createdAt: number | undefined;
    createdBy: string | undefined;
    expiresAt: number | undefined;
    note: string;
}

export interface AuditRecord {
    id: string;
    at: number;
    actor: string | undefined;
    action: string;
    target: string | undefined;
    detail: string;
    address: string;
}

export interface Page<T> {
    list: T[];
    /* For the next page; undefined: there is none. */
    cursor: string | undefined;
}

export interface ServerStatus {
    ready: boolean;
    notices: string[];
}

const ADMIN = '/api/v1/admin';

function page<T>(value: unknown, key: string, one: (o: Fields) => T): Page<T> {
    const o = fieldsOf(value, key);
    const cursor = textOr(o, 'next_cursor');
    return {
        list: listOf(o, key).map((v) => one(fieldsOf(v, key))),
        cursor: cursor === '' ? undefined : cursor,
    };
}

/* Who did something: an id, or an object with one. */
function who(value: unknown): string | undefined {
    if (typeof value === 'string') {
        return value;
    }
    return typeof value === 'object' && value !== null ? textOr(value as Fields, 'user_id') : undefined;
}

function adminUser(o: Fields): AdminUser {
    const status = o['status'];
    return {
        ...decodeUser(o),
        status: status === 'suspended' || status === 'deleted' ? status : 'active',
        devices: numberOr(o, 'devices', 0),
        createdAt: timeOr(o, 'created_at'),
    };
}

function invite(o: Fields): Invite {
    const state = o['state'];
    return {
        inviteId: text(o, 'invite_id'),
        state: state === 'used' || state === 'expired' || state === 'revoked' ? state : 'valid',
        administrator: o['administrator'] === true,
        uses: numberOr(o, 'uses', 0),
        usesMax: numberOr(o, 'uses_max', 0),
        createdAt: timeOr(o, 'created_at'),
        createdBy: who(o['created_by']),
        expiresAt: timeOr(o, 'expires_at'),
        note: textOr(o, 'note') ?? '',
    };
}

function auditRecord(o: Fields): AuditRecord {
    return {
        id: text(o, 'audit_id'),
        at: timeOr(o, 'at') ?? 0,
        actor: who(o['actor']),
        action: text(o, 'action'),
        target: who(o['target']),
        detail: textOr(o, 'detail') ?? '',
        address: textOr(o, 'address') ?? '',
    };
}

function query(fields: Record<string, string | undefined>): string {
    const q = new URLSearchParams();
    for (const [key, value] of Object.entries(fields)) {
        if (value !== undefined && value !== '') {
            q.set(key, value);
        }
    }
    return q.toString();
}

export class AdminApi {
    constructor(private readonly rest: Rest) {}

    async users(search: string, cursor?: string): Promise<Page<AdminUser>> {
        const q = query({ query: search, cursor, limit: '50' });
        return page(await this.rest.call('GET', `${ADMIN}/users?${q}`), 'users', adminUser);
    }

    async changeUser(id: string, change: { status?: 'active' | 'suspended'; role?: 'admin' | 'member' }): Promise<void> {
        await this.rest.call('PATCH', `${ADMIN}/users/${encodeURIComponent(id)}`, change);
    }

    async deleteUser(id: string): Promise<void> {
        await this.rest.call('DELETE', `${ADMIN}/users/${encodeURIComponent(id)}`);
    }

    /* The new password, made by the server. */
    async resetPassword(id: string): Promise<string> {
        const path = `${ADMIN}/users/${encodeURIComponent(id)}/password`;
        return text(fieldsOf(await this.rest.call('PUT', path, {}), 'password'), 'password');
    }

    async invites(cursor?: string): Promise<Page<Invite>> {
        const q = query({ cursor, limit: '50' });
        return page(await this.rest.call('GET', `${ADMIN}/invites?${q}`), 'invites', invite);
    }

    async invite(usesMax: number, expiresInSeconds: number | null, note: string): Promise<InviteLink> {
        return this.rest.createInvite(usesMax, expiresInSeconds, note);
    }

    async revokeInvite(id: string): Promise<void> {
        await this.rest.call('DELETE', `${ADMIN}/invites/${encodeURIComponent(id)}`);
    }

    async settings(): Promise<{ registration: RegistrationMode; serverName: string }> {
        const o = fieldsOf(await this.rest.call('GET', `${ADMIN}/settings`), 'settings');
        const mode = o['registration'];
        return {
            registration: mode === 'open' || mode === 'closed' ? mode : 'invite',
            serverName: textOr(o, 'server_name') ?? '',
        };
    }

    async changeSettings(change: { registration?: RegistrationMode; serverName?: string }): Promise<void> {
        await this.rest.call('PATCH', `${ADMIN}/settings`, {
            ...(change.registration === undefined ? {} : { registration: change.registration }),
            ...(change.serverName === undefined ? {} : { server_name: change.serverName }),
        });
    }

    async audit(cursor?: string): Promise<Page<AuditRecord>> {
        const q = query({ cursor, limit: '50' });
        return page(await this.rest.call('GET', `${ADMIN}/audit?${q}`), 'records', auditRecord);
    }

    /* What the server says of itself; undefined where it is not to be seen from here. */
    async status(): Promise<ServerStatus | undefined> {
        try {
            const o = fieldsOf(await this.rest.call('GET', '/readyz'), 'readyz');
            const notices = Array.isArray(o['notices']) ? o['notices'] : [];
            return { ready: true, notices: notices.filter((n): n is string => typeof n === 'string') };
        } catch (e) {
            if (e instanceof ApiError && e.status === 503) {
                return { ready: false, notices: [e.message] };
            }
            if (e instanceof ApiError && e.status < 500) {
                return undefined;
            }
            throw e;
        }
    }
}
