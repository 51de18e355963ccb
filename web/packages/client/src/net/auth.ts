/*
 * The access token: held in memory only, renewed from the refresh token shortly before it ends. In
 * a browser the refresh token is a cookie that no script sees; elsewhere the caller keeps it.
 * Renewals are shared: however many ask, one request is under way.
 *
 * A refusal (401) ends the sign-in; no answer, or a busy server, does not.
 */
import type { Clock, Http, HttpAnswer } from '../platform/platform.js';
import { decodeToken, fieldsOf, type TokenAnswer } from '../wire.js';

export interface RefreshKeeper {
    /* How the refresh token travels: 'cookie', or as text that is kept here. */
    kind: 'cookie' | 'text';
    /* Of a cookie: whatever it is that says that there is one; undefined: there is none. */
    load(): string | undefined;
    save(token: string | undefined): void;
}

export const cookieKeeper: RefreshKeeper = {
    kind: 'cookie',
    load: () => 'who knows',
    save: () => undefined,
};

/* For Node: as long as the process. */
export function memoryKeeper(first?: string): RefreshKeeper {
    let kept = first;
    return { kind: 'text', load: () => kept, save: (token) => (kept = token) };
}

/* An answer that says no, with the server's code. */
export class ApiError extends Error {
    constructor(
        readonly status: number,
        readonly code: string,
        message: string,
        readonly field: string | undefined,
        readonly retryAfterMs: number,
    ) {
        super(message);
        this.name = 'ApiError';
    }

    static of(answer: HttpAnswer): ApiError {
        let code = 'unknown';
        let message = `the server answered with status ${answer.status}`;
        let field: string | undefined;
        try {
            const e = fieldsOf(fieldsOf(answer.body, 'body')['error'], 'error');
            code = typeof e['code'] === 'string' ? e['code'] : code;
            message = typeof e['message'] === 'string' ? e['message'] : message;
            field = typeof e['field'] === 'string' ? e['field'] : undefined;
        } catch {
            /* A proxy's answer, not ours: the status has to do. */
        }
        return new ApiError(answer.status, code, message, field, answer.retryAfterMs);
    }
}

export interface Credentials {
    username: string;
    password: string;
}

const RENEW_BEFORE_MS = 60_000;

export class Auth {
    token: string | undefined;
    userId: string | undefined;
    deviceId: string | undefined;
    /* When the token ends; 0: it does not. */
    private expiresAt = 0;
    private renewal: Promise<boolean> | undefined;

    constructor(
        private readonly clock: Clock,
        private readonly http: Http,
        private readonly keeper: RefreshKeeper,
        private readonly deviceName: string,
    ) {}

    /* Throws ApiError. */
    async signIn(who: Credentials): Promise<void> {
        const answer = await this.http.send({
            method: 'POST',
            path: '/api/v1/tokens',
            headers: this.headers(),
            body: {
                username: who.username,
                password: who.password,
                device_name: this.deviceName,
                ...(this.keeper.kind === 'cookie' ? { cookie: true } : {}),
            },
        });
        if (answer.status !== 201 && answer.status !== 200) {
            throw ApiError.of(answer);
        }
        this.take(decodeToken(answer.body));
    }

    /* With a token that was kept from before; for servers without refresh tokens. */
    adopt(answer: TokenAnswer): void {
        this.take(answer);
    }

    /*
     * A token that is good for some time yet. False when the sign-in has ended. Throws when there
     * is no answer, or ApiError when the server cannot say at the moment.
     */
    async ensure(): Promise<boolean> {
        if (this.token !== undefined && !this.endsSoon()) {
            return true;
        }
        return this.renew();
    }

    /* A new token, whatever the present one is worth. As ensure(). */
    renew(): Promise<boolean> {
        this.renewal ??= this.refresh().finally(() => (this.renewal = undefined));
        return this.renewal;
    }

    async signOut(): Promise<void> {
        const token = this.token;
        this.forget();
        if (token !== undefined) {
            await this.http.send({
                method: 'DELETE',
                path: '/api/v1/tokens/current',
                headers: { ...this.headers(), authorization: `Bearer ${token}` },
            });
        }
    }

    forget(): void {
        this.token = undefined;
        this.userId = undefined;
        this.deviceId = undefined;
        this.expiresAt = 0;
        this.keeper.save(undefined);
    }

    private endsSoon(): boolean {
        return this.expiresAt > 0 && this.clock.now() >= this.expiresAt - RENEW_BEFORE_MS;
    }

    private headers(): Record<string, string> {
        return this.keeper.kind === 'cookie' ? { 'x-confab-client': 'web' } : {};
    }

    private async refresh(): Promise<boolean> {
        const kept = this.keeper.load();
        if (kept === undefined) {
            return false;
        }
        const answer = await this.http.send({
            method: 'POST',
            path: '/api/v1/tokens/refresh',
            headers: this.headers(),
            body: this.keeper.kind === 'text' ? { refresh_token: kept } : {},
        });
        if (answer.status === 200 || answer.status === 201) {
            this.take(decodeToken(answer.body));
            return true;
        }
        /* 404, 405: a server without refresh tokens; then there is nothing to go on with. */
        if ([400, 401, 403, 404, 405].includes(answer.status)) {
            this.forget();
            return false;
        }
        throw ApiError.of(answer);
    }

    private take(answer: TokenAnswer): void {
        this.token = answer.token;
        this.userId = answer.userId;
        this.deviceId = answer.deviceId;
        this.expiresAt =
            answer.expiresIn === undefined ? 0 : this.clock.now() + answer.expiresIn * 1000;
        if (this.keeper.kind === 'cookie') {
            this.keeper.save('yes');
        } else if (answer.refreshToken !== undefined) {
            this.keeper.save(answer.refreshToken);
        }
    }
}
