/*
 * A message's text as DOM nodes, made of what markdown.ts has found in it: never HTML. Links open
 * elsewhere and tell nothing of where they came from.
 */
import type { ComponentChild, ComponentChildren } from 'preact';
import { type Block, type Inline, type Mentioned, onlyEmoji, parseMessage } from './markdown.js';

function inlineNodes(children: Inline[], me: string | undefined): ComponentChild[] {
    return children.map((c, i) => {
        if (typeof c === 'string') {
            return c;
        }
        switch (c.tag) {
            case 'strong':
                return <strong key={i}>{inlineNodes(c.children, me)}</strong>;
            case 'em':
                return <em key={i}>{inlineNodes(c.children, me)}</em>;
            case 'del':
                return <del key={i}>{inlineNodes(c.children, me)}</del>;
            case 'code':
                return <code key={i} dir="ltr">{c.text}</code>;
            case 'link':
                return (
                    <a key={i} href={c.href} target="_blank" rel="noopener noreferrer nofollow"
                        {...(c.text === c.href ? {} : { title: c.href })}>
                        {c.text}
                    </a>
                );
            case 'mention':
                return (
                    <span key={i} class={`mention ${c.user === me ? 'mention-me' : ''}`} data-user={c.user}>
                        {c.text}
                    </span>
                );
        }
    });
}

function blockNode(b: Block, key: number, me: string | undefined): ComponentChild {
    switch (b.block) {
        case 'text':
            return <span key={key} class="lines">{inlineNodes(b.children, me)}</span>;
        case 'code':
            return (
                <pre key={key} dir="ltr">
                    <code>{b.text}</code>
                </pre>
            );
        case 'quote':
            return <blockquote key={key}>{b.children.map((c, i) => blockNode(c, i, me))}</blockquote>;
        case 'list': {
            const items = b.items.map((item, i) => <li key={i}>{inlineNodes(item, me)}</li>);
            return b.start === undefined ? (
                <ul key={key}>{items}</ul>
            ) : (
                <ol key={key} start={b.start}>{items}</ol>
            );
        }
    }
}

interface Props {
    text: string;
    /* Who was mentioned, and who reads. */
    mentioned?: Mentioned;
    me?: string | undefined;
}

export function messageNodes({ text, mentioned, me }: Props): ComponentChild[] {
    if (onlyEmoji(text)) {
        return [<span key={0} class="emoji-only">{text}</span>];
    }
    return parseMessage(text, mentioned).map((b, i) => blockNode(b, i, me));
}

export function MessageText(props: Props): ComponentChildren {
    return messageNodes(props);
}
