/* Frames as a server has sent them (ids shortened), and what is not to be taken for one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Objects } from './api.gen.js';
import { decodeFrame, decodeHistory, decodeToken, decodeUser, WireError, fieldsOf, text } from './wire.js';

const at = '"conversation_id":"c1","seq":3,"event_id":"30","sent_at":"2026-01-02T03:04:05.678Z","from":"7"';

void test('wire: messages, edits, deletions', () => {
    assert.deepEqual(
        decodeFrame(`{"event":"new_message",${at},"message_id":"30","content":"hé","type":"text","reply_to":"20","mentions":["8"]}`),
        {
            event: 'new_message', conversationId: 'c1', seq: 3, eventId: '30', sentAt: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
            from: '7', content: 'hé', type: 'text', replyTo: '20', mentions: ['8'],
        },
    );
    const edit = decodeFrame(`{"event":"message_edited",${at},"message_id":"20","target_seq":2,"content":"x","edited_at":"2026-01-02T03:04:06.000Z"}`);
    assert.ok(edit.event === 'message_edited' && edit.targetSeq === 2 && edit.editedAt === Date.UTC(2026, 0, 2, 3, 4, 6));
    const gone = decodeFrame(`{"event":"message_deleted",${at},"message_id":"20","target_seq":2}`);
    assert.ok(gone.event === 'message_deleted' && gone.messageId === '20');
});

void test('wire: membership, conversation, the user\'s own log', () => {
    const made = decodeFrame(`{"event":"membership",${at},"action":"create","members":[{"user_id":"7","role":"owner"}],"name":"G","type":"group"}`);
    assert.ok(made.event === 'membership' && made.kind === 'group' && made.members[0]?.role === 'owner');
    const set = decodeFrame(`{"event":"conversation",${at},"settings":{"history":"joined","send":"members","invite":"admins"}}`);
    assert.ok(set.event === 'conversation' && set.settings?.history === 'joined' && set.name === undefined);
    const mute = decodeFrame(`{"event":"self",${at},"action":"mute","target":"c2","until":null}`);
    assert.ok(mute.event === 'self' && mute.until === null && mute.target === 'c2');
    const hide = decodeFrame(`{"event":"self",${at},"action":"hide","target":"c2","hidden":[4,5]}`);
    assert.ok(hide.event === 'self' && hide.hidden?.[1] === 5);
});

void test('wire: what a later server sends still takes its place in the sequence', () => {
    assert.equal(decodeFrame(`{"event":"reaction",${at},"emoji":"x"}`).event, 'other');
    assert.equal(decodeFrame(`{"event":"membership",${at},"action":"ban","members":[]}`).event, 'other');
    assert.equal(decodeFrame('{"event":"call_ringing","user_id":"7"}').event, 'ignored');
    assert.equal(decodeFrame('{"type":"message","text":"short form"}').event, 'ignored');
});

void test('wire: pages', () => {
    const page = decodeFrame(
        '{"event":"conversations","conversations":[{"conversation_id":"c1","type":"direct","with":"8","role":"member","members":2,' +
            '"head":3,"head_id":"30","last_message_at":"2026-01-02T03:04:05.678Z","preview":{"message_id":"30","from":"7","content":"x",' +
            '"type":"text","sent_at":"2026-01-02T03:04:05.678Z"},"unread":1,"mentions":0,"muted":false,"pinned":true,' +
            `"cursors":{"delivered":3,"read":2},"covered":[3,3],"limited":true,"reset":false,"events":[{"event":"new_message",${at},"content":"x","type":"text"}]},` +
            '{"conversation_id":"c9","type":"group","left":true,"events":[]}]}',
    );
    assert.ok(page.event === 'conversations');
    const [one, two] = page.conversations;
    assert.deepEqual([one?.with, one?.pinned, one?.read, one?.coveredFrom, one?.events.length], ['8', true, 2, 3, 1]);
    assert.deepEqual([two?.left, two?.head, two?.events.length], [true, 0, 0]);
});

void test('wire: what does not fit is refused with the field\'s name', () => {
    const bad: [string, string][] = [
        [`{"event":"new_message",${at}}`, 'content'],
        ['{"event":"new_message","conversation_id":"c","seq":-1,"event_id":"1","sent_at":"x","from":"1"}', 'seq'],
        [`{"event":"new_message",${at.replace('2026-01-02T03:04:05.678Z', 'yesterday')},"content":"x"}`, 'sent_at'],
        ['{"event":"ack"}', 'client_msg_id'],
        ['{"event":"conversations","conversations":[{"conversation_id":"c","type":"odd","left":true}]}', 'type'],
        ['{"event":"hello"}', 'limits'],
        [`{"event":"new_message",${at.replace('"seq":3', '"seq":0')},"content":"x"}`, 'seq'],
        [`{"event":"new_message",${at.replace('"seq":3', '"seq":1.5')},"content":"x"}`, 'seq'],
        [`{"event":"new_message",${at.replace('"seq":3', '"seq":1e999')},"content":"x"}`, 'seq'],
        [`{"event":"new_message",${at.replace('2026-01-02T03:04:05.678Z', '1')},"content":"x"}`, 'sent_at'],
        [`{"event":"message_deleted",${at},"message_id":"20","target_seq":0}`, 'target_seq'],
        [`{"event":"self",${at},"action":"hide","target":"c2","hidden":[4]}`, 'hidden'],
        [`{"event":"self",${at},"action":"hide","target":"c2","hidden":[-4,5.5]}`, 'hidden'],
        ['{"event":"delivery_receipt","conversation_id":"c","seq":null,"user_id":"7","status":"read"}', 'seq'],
        ['3', 'frame'],
    ];
    for (const [text, path] of bad) {
        assert.throws(() => decodeFrame(text), (e) => e instanceof WireError && e.path === path, text);
    }
});

void test('wire: numbers that are none count as not told, and no server makes the client wait for ever', () => {
    for (const odd of ['"3"', '-3', '1.5', '1e999', 'null', '{}']) {
        const page = decodeFrame(
            `{"event":"conversations","conversations":[{"conversation_id":"c","type":"group","head":3,"members":${odd},"unread":${odd},"mentions":${odd},` +
                `"cursors":{"delivered":${odd},"read":${odd}},"covered":[1,3],"events":[]}]}`,
        );
        assert.ok(page.event === 'conversations');
        const [c] = page.conversations;
        assert.deepEqual([c?.members, c?.unread, c?.mentions, c?.delivered, c?.read], [0, 0, 0, 0, 0], odd);
        const typing = decodeFrame(`{"event":"typing","conversation_id":"c","user_id":"7","expires_in_ms":${odd}}`);
        assert.ok(typing.event === 'typing' && typing.expiresInMs === 6000, odd);
        const wait = decodeFrame(`{"event":"reconnect","delay_ms":${odd}}`);
        assert.ok(wait.event === 'reconnect' && wait.delayMs === 1000, odd);
        assert.equal(decodeToken({ token: 't', user_id: '1', device_id: '2', expires_in: JSON.parse(odd) as unknown }).expiresIn, undefined, odd);
    }
    const long = decodeFrame('{"event":"reconnect","delay_ms":9000000000}');
    assert.ok(long.event === 'reconnect' && long.delayMs === 600_000);
    const busy = decodeFrame('{"event":"error","code":"busy","retry_after_ms":9000000000}');
    assert.ok(busy.event === 'error' && busy.retryAfterMs === 600_000);
    const hello = decodeFrame(
        '{"event":"hello","protocol":1,"server_time":"2026-01-02T03:04:05Z","user_id":"1","device_id":"2","heartbeat_ms":0,"limits":{"inflight":0,"text_bytes":100}}',
    );
    assert.ok(hello.event === 'hello' && hello.heartbeatMs === 1000 && hello.inflight === 1);
});

void test('wire: tokens in both forms, users, history', () => {
    assert.deepEqual(decodeToken({ token: 't', user_id: '1', device_id: '2' }), { token: 't', userId: '1', deviceId: '2' });
    assert.equal(decodeToken({ access_token: 'a', token: 'a', expires_in: 900, user_id: '1', device_id: '2' }).expiresIn, 900);
    assert.equal(decodeUser({ user_id: '1', username: 'u', display_name: 'U', role: 'admin' }).role, 'admin');
    const history = decodeHistory({
        messages: [{ message_id: '1', conversation_id: 'c', seq: 1, from: '7', content: '', sent_at: '2026-01-01T00:00:00Z', status: 'read', deleted: true }],
        has_more: false,
        covered: [1, 4],
    });
    assert.deepEqual([history.messages[0]?.status, history.messages[0]?.deleted, history.coveredTo], ['read', true, 4]);
});

void test('wire: a field that docs/api does not have does not compile', () => {
    const o = fieldsOf<Objects['User']>({ username: 'ada' }, 'user');
    assert.equal(text(o, 'username'), 'ada');
    // @ts-expect-error: there is no such field
    assert.throws(() => text(o, 'user_name'));
});
