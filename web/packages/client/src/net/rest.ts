/*
 * The REST calls that the client makes. Each takes a fresh token first, and tries once more with a
 * new one after a 401. Failures are ApiError (the server said no) or what the platform's Http
 * rejects with (no answer).
 */
import type { Http, HttpAnswer, HttpRequest } from '../platform/platform.js';
import {
    decodeCount,
    decodeGroupMembers,
    decodeHistory,
    decodeHistoryMessage,
    decodeReaders,
    decodeUser,
    decodeUsers,
    fieldsOf,
    type HistoryMessage,
    decodeSettings,
    type GroupSettings,
    strings,
    type HistoryPage,
    type Member,
    type Readers,
    type Role,
    text,
    textOr,
    type UnreadCount,
    type User,
} from '../wire.js';
import { ApiError, type Auth, type Credentials } from './auth.js';

export type HistoryPlace = { before: number } | { after: number } | { around: number } | 'newest';

export interface Registration extends Credentials {
    displayName?: string;
    invite?: string;
}

export interface InviteLink {
    code: string;
    link: string;
    usesMax: number | undefined;
    expiresAt: string | undefined;
}

export interface InviteCheck {
    valid: boolean;
    administrator: boolean;
    serverName: string | undefined;
}

export interface ServerInfo {
    name: string | undefined;
    version: string | undefined;
    registration: 'open' | 'invite' | 'closed';
    features: string[];
}

function segment(value: string): string {
    return encodeURIComponent(value);
}

export class Rest {
    constructor(
        private readonly http: Http,
        private readonly auth: Auth,
    ) {}

    /* ---- Without a token ---- */

    async register(r: Registration): Promise<User> {
        const body = {
            username: r.username,
            password: r.password,
            ...(r.displayName ? { display_name: r.displayName } : {}),
            ...(r.invite ? { invite: r.invite } : {}),
        };
        return decodeUser(await this.open('POST', '/api/v1/accounts', body));
    }

    async checkInvite(code: string): Promise<InviteCheck> {
        const o = fieldsOf(await this.open('POST', '/api/v1/invites/check', { code }), 'invite');
        return {
            valid: o['valid'] === true,
            administrator: o['administrator'] === true,
            serverName: textOr(o, 'server_name'),
        };
    }

    async server(): Promise<ServerInfo> {
        const o = fieldsOf(await this.open('GET', '/api/v1/server'), 'server');
        const mode = o['registration'];
        return {
            name: textOr(o, 'server_name') ?? textOr(o, 'name'),
            version: textOr(o, 'version'),
            registration: mode === 'open' || mode === 'closed' ? mode : 'invite',
            features: strings(o, 'features'),
        };
    }

    /* ---- People ---- */

    async me(): Promise<User> {
        return decodeUser(await this.call('GET', '/api/v1/users/me'));
    }

    async user(idOrName: string): Promise<User> {
        return decodeUser(await this.call('GET', `/api/v1/users/${segment(idOrName)}`));
    }

    async searchUsers(query: string, limit = 20): Promise<User[]> {
        const path = `/api/v1/users?query=${segment(query)}&limit=${limit}`;
        return decodeUsers(await this.call('GET', path));
    }

    /* ---- Messages ---- */

    async history(conv: string, place: HistoryPlace, limit: number): Promise<HistoryPage> {
        const query = new URLSearchParams({ limit: String(limit), changes: 'true' });
        if (place !== 'newest') {
            for (const [way, seq] of Object.entries(place)) {
                query.set(way, String(seq));
            }
        }
        const path = `/api/v1/conversations/${segment(conv)}/messages?${query.toString()}`;
        return decodeHistory(await this.call('GET', path));
    }

    async message(conv: string, id: string): Promise<HistoryMessage> {
        const path = `/api/v1/conversations/${segment(conv)}/messages/${segment(id)}`;
        return decodeHistoryMessage(await this.call('GET', path));
    }

    /* Who has got and read it, from a page's `next` on. */
    async readers(id: string, cursor?: string): Promise<Readers> {
        const more = cursor === undefined ? '' : `&cursor=${segment(cursor)}`;
        return decodeReaders(await this.call('GET', `/api/v1/messages/${segment(id)}/receipts?limit=200${more}`));
    }

    async editMessage(id: string, content: string): Promise<void> {
        await this.call('PATCH', `/api/v1/messages/${segment(id)}`, { content });
    }

    async deleteMessage(id: string, whom: 'everyone' | 'me'): Promise<void> {
        await this.call('DELETE', `/api/v1/messages/${segment(id)}?for=${whom}`);
    }

    /* ---- Conversations ---- */

    async count(conv: string): Promise<UnreadCount> {
        return decodeCount(await this.call('GET', `/api/v1/conversations/${segment(conv)}`));
    }

    /* Answered when it is noted; what the server tells of the cursor follows a moment later. */
    async markRead(conv: string, seq: number): Promise<void> {
        await this.call('POST', `/api/v1/conversations/${segment(conv)}/read`, { seq });
    }

    async mute(conv: string, until: number | null): Promise<void> {
        const body = { until: until === null ? null : new Date(until).toISOString() };
        await this.call('PUT', `/api/v1/conversations/${segment(conv)}/mute`, body);
    }

    async pin(conv: string, pinned: boolean): Promise<void> {
        await this.call('PUT', `/api/v1/conversations/${segment(conv)}/pin`, { pinned });
    }

    async groupSettings(group: string): Promise<GroupSettings> {
        const o = fieldsOf(await this.call('GET', `/api/v1/conversations/${segment(group)}`), 'conversation');
        return decodeSettings(o['settings']);
    }

    async changeGroup(group: string, settings: Partial<GroupSettings>): Promise<void> {
        await this.call('PATCH', `/api/v1/groups/${segment(group)}`, { settings });
    }

    /* '' takes it away. */
    async saveDraft(conv: string, draft: string): Promise<void> {
        await this.call('PATCH', `/api/v1/conversations/${segment(conv)}`, { draft: draft === '' ? null : draft });
    }

    async createGroup(name: string, memberIds: string[]): Promise<string> {
        const body = { name, member_ids: memberIds };
        const o = fieldsOf(await this.call('POST', '/api/v1/groups', body), 'group');
        return text(o, 'conversation_id');
    }

    async members(group: string): Promise<Member[]> {
        return decodeGroupMembers(await this.call('GET', `/api/v1/groups/${segment(group)}/members`));
    }

    async addMembers(group: string, userIds: string[]): Promise<void> {
        await this.call('POST', `/api/v1/groups/${segment(group)}/members`, { user_ids: userIds });
    }

    /* Oneself: leaves. */
    async removeMember(group: string, user: string): Promise<void> {
        await this.call('DELETE', `/api/v1/groups/${segment(group)}/members/${segment(user)}`);
    }

    async setRole(group: string, user: string, role: Role): Promise<void> {
        const path = `/api/v1/groups/${segment(group)}/members/${segment(user)}`;
        await this.call('PATCH', path, { role });
    }

    async renameGroup(group: string, name: string): Promise<void> {
        await this.call('PATCH', `/api/v1/groups/${segment(group)}`, { name });
    }

    /* ---- Administration ---- */

    /* uses_max 0: without a limit; expires_in null: never. */
    async createInvite(usesMax: number, expiresInSeconds: number | null, note = ''): Promise<InviteLink> {
        const body = { uses_max: usesMax, expires_in: expiresInSeconds, ...(note === '' ? {} : { note }) };
        const o = fieldsOf(await this.call('POST', '/api/v1/invites', body), 'invite');
        const uses = o['uses_max'];
        return {
            code: text(o, 'code'),
            link: text(o, 'link'),
            usesMax: typeof uses === 'number' ? uses : undefined,
            expiresAt: textOr(o, 'expires_at'),
        };
    }

    /* ---- The way there ---- */

    private async open(method: HttpRequest['method'], path: string, body?: unknown): Promise<unknown> {
        return this.result(await this.http.send({ method, path, headers: {}, body }));
    }

    /* Throws ApiError; the answer's body, decoded from JSON. */
    async call(method: HttpRequest['method'], path: string, body?: unknown): Promise<unknown> {
        let good = await this.auth.ensure();
        for (let attempt = 0; ; attempt++) {
            if (!good || this.auth.token === undefined) {
                throw new ApiError(401, 'unauthenticated', 'not signed in', undefined, 0);
            }
            const headers = { authorization: `Bearer ${this.auth.token}` };
            const answer = await this.http.send({ method, path, headers, body });
            if (answer.status !== 401 || attempt > 0) {
                return this.result(answer);
            }
            good = await this.auth.renew();
        }
    }

    private result(answer: HttpAnswer): unknown {
        if (answer.status < 200 || answer.status > 299) {
            throw ApiError.of(answer);
        }
        return answer.body;
    }
}
