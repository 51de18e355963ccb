/* One's own account over REST: profile, privacy, password, devices. */
import type { Objects } from '../api.gen.js';
import { decodeUser, fieldsOf, listOf, type Privacy, text, textOr, timeOr, type User } from '../wire.js';
import type { Rest } from './rest.js';

export interface Device {
    deviceId: string;
    name: string;
    current: boolean;
    lastUsedAt: number | undefined;
    lastAddress: string;
}

export interface Profile {
    displayName?: string;
    about?: string;
    privacy?: Partial<Privacy>;
}

export class AccountApi {
    constructor(private readonly rest: Rest) {}

    async change(p: Profile): Promise<User> {
        const privacy = p.privacy && {
            ...(p.privacy.online === undefined ? {} : { online: p.privacy.online }),
            ...(p.privacy.lastSeen === undefined ? {} : { last_seen: p.privacy.lastSeen }),
            ...(p.privacy.readReceipts === undefined ? {} : { read_receipts: p.privacy.readReceipts }),
        };
        const body = {
            ...(p.displayName === undefined ? {} : { display_name: p.displayName }),
            ...(p.about === undefined ? {} : { about: p.about }),
            ...(privacy === undefined ? {} : { privacy }),
        };
        return decodeUser(await this.rest.call('PATCH', '/api/v1/users/me', body));
    }

    async changePassword(password: string, next: string): Promise<void> {
        await this.rest.call('PUT', '/api/v1/users/me/password', { password, new_password: next });
    }

    async devices(): Promise<Device[]> {
        const o = fieldsOf(await this.rest.call('GET', '/api/v1/devices'), 'devices');
        return listOf(o, 'devices').map((value) => {
            const d = fieldsOf<Objects['Device']>(value, 'devices');
            return {
                deviceId: text(d, 'device_id'),
                name: textOr(d, 'name') ?? '',
                current: d['current'] === true,
                lastUsedAt: timeOr(d, 'last_used_at'),
                lastAddress: textOr(d, 'last_address') ?? '',
            };
        });
    }

    async renameDevice(id: string, name: string): Promise<void> {
        await this.rest.call('PATCH', `/api/v1/devices/${encodeURIComponent(id)}`, { name });
    }

    async signOutDevice(id: string): Promise<void> {
        await this.rest.call('DELETE', `/api/v1/devices/${encodeURIComponent(id)}`);
    }
}
