import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answer, FakeClock, FakeHttp, refusal } from '../mocks/index.js';
import type { HttpRequest } from '../platform/platform.js';
import { ApiError, Auth, cookieKeeper, memoryKeeper, type RefreshKeeper } from './auth.js';
import { Rest } from './rest.js';

const ids = { user_id: '7', device_id: '8' };

function rig(keeper: RefreshKeeper = cookieKeeper) {
    const clock = new FakeClock();
    const http = new FakeHttp();
    const auth = new Auth(clock, http, keeper, 'Test');
    return { clock, http, auth, rest: new Rest(http, auth) };
}

void test('auth: a browser asks for the cookie and renews by it, before the token ends', async () => {
    const { clock, http, auth } = rig();
    http.handler = (r) =>
        r.path.endsWith('/refresh')
            ? answer(200, { access_token: 'second', expires_in: 900, ...ids })
            : answer(201, { access_token: 'first', expires_in: 900, ...ids });
    await auth.signIn({ username: 'u', password: 'p' });
    const [signIn] = http.requests;
    assert.deepEqual(signIn?.body, { username: 'u', password: 'p', device_name: 'Test', cookie: true });
    assert.equal(signIn.headers['x-confab-client'], 'web');
    assert.equal(await auth.ensure(), true);
    assert.equal(http.requests.length, 1);
    await clock.pass(841_000);
    assert.equal(await auth.ensure(), true);
    assert.equal(auth.token, 'second');
    const refresh = http.requests[1];
    assert.equal(refresh?.path, '/api/v1/tokens/refresh');
    assert.equal(refresh.headers['x-confab-client'], 'web');
    assert.deepEqual(refresh.body, {});
});

void test('auth: elsewhere the refresh token is kept as text, and each renewal brings the next', async () => {
    const { http, auth } = rig(memoryKeeper('cfr_1'));
    const seen: unknown[] = [];
    http.handler = (r) => {
        seen.push(r.body);
        return answer(200, { access_token: `a${seen.length}`, refresh_token: `cfr_${seen.length + 1}`, expires_in: 1, ...ids });
    };
    await auth.renew();
    await auth.renew();
    assert.deepEqual(seen, [{ refresh_token: 'cfr_1' }, { refresh_token: 'cfr_2' }]);
});

void test('auth: many who ask share one renewal', async () => {
    const { http, auth } = rig();
    http.handler = () => answer(200, { access_token: 'a', expires_in: 900, ...ids });
    const all = await Promise.all([auth.ensure(), auth.ensure(), auth.renew()]);
    assert.deepEqual(all, [true, true, true]);
    assert.equal(http.requests.length, 1);
});

void test('auth: a refusal ends the sign-in, no answer or a busy server does not', async () => {
    const { http, auth } = rig();
    http.handler = () => answer(200, { access_token: 'a', expires_in: 900, ...ids });
    await auth.ensure();
    http.handler = () => {
        throw new TypeError('network');
    };
    await assert.rejects(auth.renew(), TypeError);
    http.handler = () => refusal(503, 'busy');
    await assert.rejects(auth.renew(), ApiError);
    assert.equal(auth.token, 'a');
    http.handler = () => refusal(401, 'unauthenticated');
    assert.equal(await auth.renew(), false);
    assert.equal(auth.token, undefined);
});

void test('auth: a plain token without an end is taken as it is', async () => {
    const { clock, http, auth } = rig();
    http.handler = (r) =>
        r.method === 'POST' && r.path === '/api/v1/tokens' ? answer(201, { token: 't', ...ids }) : refusal(404, 'not_found');
    await auth.signIn({ username: 'u', password: 'p' });
    await clock.pass(10 * 86_400_000);
    assert.equal(await auth.ensure(), true);
    assert.equal(await auth.renew(), false, 'such a server cannot renew');
});

void test('rest: a 401 is answered with one renewal and one more try', async () => {
    const { http, rest } = rig();
    let token = 0;
    const tokens: (string | undefined)[] = [];
    http.handler = (r: HttpRequest) => {
        if (r.path.endsWith('/refresh')) {
            return answer(200, { access_token: `a${++token}`, expires_in: 900, ...ids });
        }
        tokens.push(r.headers['authorization']);
        return tokens.length === 1
            ? refusal(401, 'unauthenticated')
            : answer(200, { user_id: '7', username: 'u', display_name: '' });
    };
    const me = await rest.me();
    assert.equal(me.displayName, 'u', 'a name is never empty');
    assert.deepEqual(tokens, ['Bearer a1', 'Bearer a2']);
    http.handler = (r) =>
        r.path.endsWith('/refresh') ? answer(200, { access_token: 'b', expires_in: 900, ...ids }) : refusal(401, 'unauthenticated');
    await assert.rejects(rest.me(), (e) => e instanceof ApiError && e.status === 401);
});

void test('rest: errors carry code, field and waiting time; a proxy\'s page its status', async () => {
    const { http, rest } = rig();
    http.handler = () => answer(429, { error: { code: 'too_many_attempts', message: 'm', field: 'username' } }, 4000);
    await assert.rejects(rest.register({ username: 'u', password: 'p' }), (e) => {
        assert.ok(e instanceof ApiError);
        assert.deepEqual([e.code, e.field, e.retryAfterMs], ['too_many_attempts', 'username', 4000]);
        return true;
    });
    http.handler = () => answer(502, null);
    await assert.rejects(rest.server(), (e) => e instanceof ApiError && e.code === 'unknown' && e.status === 502);
});

void test('rest: paths are escaped, places become queries', async () => {
    const { http, rest } = rig(memoryKeeper('cfr'));
    http.handler = (r) =>
        r.path.endsWith('/refresh')
            ? answer(200, { access_token: 'a', ...ids })
            : r.path.includes('/messages?')
              ? answer(200, { messages: [], has_more: false, covered: [1, 0] })
              : answer(200, { user_id: '7', username: 'a/b?', display_name: 'x' });
    await rest.user('a/b?');
    await rest.history('c1', { before: 7 }, 20);
    const paths = http.requests.map((r) => r.path);
    assert.ok(paths.includes('/api/v1/users/a%2Fb%3F'));
    assert.ok(paths.includes('/api/v1/conversations/c1/messages?limit=20&changes=true&before=7'));
});
