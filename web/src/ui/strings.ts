/*
 * Every text that people read. English to begin with; another language is another object of the
 * same type. Dates, times and plurals go through Intl.
 */
import { ApiError } from '@confab/client';

const plurals = new Intl.PluralRules('en');

function count(n: number, one: string, other: string): string {
    return `${n} ${plurals.select(n) === 'one' ? one : other}`;
}

export const en = {
    appName: 'Confab',
    someone: 'Someone',
    you: 'You',
    loading: 'Loading',
    cancel: 'Cancel',
    close: 'Close',
    back: 'Back to conversations',
    copy: 'Copy',
    copied: 'Copied',

    signIn: 'Sign in',
    signInHint: 'Use the account you have on this server.',
    signingIn: 'Signing in…',
    signOut: 'Sign out',
    username: 'Username',
    usernameHint: 'Letters, digits, dots, dashes. People find you by it.',
    password: 'Password',
    passwordHint: 'At least 8 characters.',
    displayName: 'Your name',
    displayNameHint: 'Shown beside your messages.',
    createAccount: 'Create account',
    creating: 'Creating your account…',
    haveAccount: 'I have an account already',
    needAccount: 'Create an account',
    joinTitle: (server: string) => `Join ${server}`,
    joinHint: 'You have been invited. Choose a name and a password to begin.',
    setupTitle: 'Set up this server',
    setupHint: 'You are the first one here. This account will be the administrator.',
    registerTitle: 'Create an account',
    inviteInvalid: 'This invitation is not valid any more. Ask for a new link, or sign in if you have an account.',
    inviteOnly: 'New people join this server by invitation. Ask somebody there for a link.',
    expired: 'Your session has ended. Sign in again; nothing that you wrote is lost.',
    signOutUnsent: (n: number) =>
        `${count(n, 'message has', 'messages have')} not been sent yet and will be lost.`,
    signOutPlain: 'The messages kept in this browser are removed. They stay on the server.',

    conversations: 'Conversations',
    searchConversations: 'Search conversations',
    noConversations: 'No conversations yet',
    noConversationsHint: 'Find somebody on this server and say hello.',
    noMatch: 'Nothing found',
    pickTitle: 'Pick a conversation',
    pickHint: 'Or start a new one.',
    newChat: 'New chat',
    newGroup: 'New group',
    invitePeople: 'Invite people',
    mainMenu: 'Menu',
    draft: 'Draft',
    noMessages: 'No messages yet',
    deletedPreview: 'Message deleted',
    unread: (n: number) => count(n, 'unread message', 'unread messages'),
    mentioned: 'You were mentioned',
    pinned: 'Pinned',
    muted: 'Muted',

    connecting: 'Connecting…',
    syncing: 'Updating…',
    offline: 'No connection',
    offlineUntil: (s: number) => `No connection. Trying again in ${s} s`,
    tryNow: 'Try now',
    online: 'Connected',
    storageFailed: 'This browser does not keep messages at the moment. What is not sent is lost when you close the tab.',

    findPeople: 'Search by name or username',
    searching: 'Searching…',
    nobody: 'Nobody of that name',
    groupName: 'Group name',
    chooseMembers: 'Members',
    chosen: (n: number) => count(n, 'person chosen', 'people chosen'),
    create: 'Create',
    remove: 'Remove',
    removePerson: (name: string) => `Remove ${name}`,
    members: 'Members',
    membersCount: (n: number) => count(n, 'member', 'members'),
    addMembers: 'Add people',
    add: 'Add',
    leaveGroup: 'Leave group',
    leaveQuestion: 'You will not receive messages of this group any more.',
    role: { owner: 'Owner', admin: 'Admin', member: '' },

    inviteTitle: 'Invite people',
    inviteHint: 'Whoever has the link can create an account on this server.',
    inviteUses: 'How many people',
    inviteExpires: 'Valid for',
    oneDay: '1 day',
    oneWeek: '1 week',
    oneMonth: '30 days',
    makeLink: 'Create link',
    inviteLink: 'Invitation link',

    messages: 'Messages',
    conversationMenu: 'Conversation menu',
    mute: 'Mute',
    unmute: 'Unmute',
    pin: 'Pin',
    unpin: 'Unpin',
    firstMessage: 'This is where it begins. Say hello.',
    beginning: 'Beginning of the conversation',
    loadFailed: 'Messages could not be loaded',
    tryAgain: 'Try again',
    today: 'Today',
    yesterday: 'Yesterday',
    newMessages: (n: number) => count(n, 'new message', 'new messages'),
    jumpToLatest: 'Jump to the latest message',
    edited: 'edited',
    deleted: 'This message was deleted',
    messageMenu: 'Message actions',
    reply: 'Reply',
    edit: 'Edit',
    copyText: 'Copy text',
    deleteForAll: 'Delete for everyone',
    deleteForMe: 'Delete for me',
    replyingTo: (name: string) => `Replying to ${name}`,
    repliedTo: (name: string) => `In reply to ${name}`,
    originalMissing: 'An earlier message',
    editing: 'Editing your message',
    composer: 'Message',
    composerHint: (name: string) => `Message ${name}`,
    send: 'Send',
    save: 'Save',
    tooLong: 'This message is too long.',
    outboxFull: 'Too many messages are waiting to be sent.',
    status: {
        queued: 'Waiting to be sent',
        sending: 'Sending',
        failed: 'Not sent',
        sent: 'Sent',
        delivered: 'Delivered',
        read: 'Read',
    },
    discard: 'Discard',
    announce: (who: string, text: string) => `${who}: ${text}`,
    announceIn: (who: string, group: string, text: string) => `${who} in ${group}: ${text}`,
    note: {
        create: (who: string) => `${who} created the group`,
        add: (who: string, whom: string) => `${who} added ${whom}`,
        remove: (who: string, whom: string) => `${who} removed ${whom}`,
        leave: (who: string) => `${who} left`,
        role: (who: string, whom: string, role: string) => `${who} made ${whom} ${role}`,
        rename: (who: string, name: string) => `${who} named the group “${name}”`,
        settings: (who: string) => `${who} changed the settings`,
    },
    roleInNote: { owner: 'an owner', admin: 'an admin', member: 'a member' },
    list: (names: string[]) => new Intl.ListFormat('en').format(names),

    problem(e: unknown): string {
        if (!(e instanceof ApiError)) {
            return 'The server cannot be reached. Try again in a moment.';
        }
        switch (e.code) {
            case 'unauthenticated':
                return 'Wrong username or password.';
            case 'exists':
                return 'That username is taken.';
            case 'registration_closed':
                return 'This server takes no new accounts.';
            case 'invite_invalid':
                return 'This invitation is not valid any more.';
            case 'too_many_attempts':
            case 'limit_reached':
                return e.retryAfterMs > 0
                    ? `Too many attempts. Try again in ${Math.ceil(e.retryAfterMs / 1000)} s.`
                    : 'Too many attempts. Try again later.';
            case 'forbidden':
                return 'You are not allowed to do that.';
            case 'not_found':
                return 'That is not there any more.';
            case 'busy':
                return 'The server is busy. Try again in a moment.';
            case 'invalid':
                return e.message.charAt(0).toUpperCase() + e.message.slice(1) + '.';
            default:
                return e.status >= 500 ? 'The server has a problem. Try again later.' : `${e.message}.`;
        }
    },
};

export const t = en;

/* ---- Times ---- */

const clockTime = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: 'long' });
const weekdayShort = new Intl.DateTimeFormat(undefined, { weekday: 'short' });
const dayMonth = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'long' });
const fullDate = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'long', year: 'numeric' });
const shortDate = new Intl.DateTimeFormat(undefined, { day: '2-digit', month: '2-digit', year: '2-digit' });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });

/* Whole days from a to b in local time. */
function daysBetween(a: number, b: number): number {
    const x = new Date(a).setHours(12, 0, 0, 0);
    const y = new Date(b).setHours(12, 0, 0, 0);
    return Math.round((y - x) / 86_400_000);
}

export function sameDay(a: number, b: number): boolean {
    return daysBetween(a, b) === 0;
}

export function timeText(at: number): string {
    return clockTime.format(at);
}

export function exactText(at: number): string {
    return exact.format(at);
}

export function dayText(at: number, now: number): string {
    const days = daysBetween(at, now);
    if (days === 0) {
        return t.today;
    }
    if (days === 1) {
        return t.yesterday;
    }
    if (days > 0 && days < 7) {
        return weekday.format(at);
    }
    return new Date(at).getFullYear() === new Date(now).getFullYear() ? dayMonth.format(at) : fullDate.format(at);
}

/* For the list: short. */
export function whenText(at: number, now: number): string {
    const days = daysBetween(at, now);
    if (days <= 0) {
        return timeText(at);
    }
    return days === 1 ? t.yesterday : days < 7 ? weekdayShort.format(at) : shortDate.format(at);
}
