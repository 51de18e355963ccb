/* A component that is painted again only when one of its properties, or a signal that it reads, changes. */
import { Component, type ComponentChild, type FunctionComponent, h } from 'preact';

export function same<P extends object>(a: P, b: P): boolean {
    const keys = Object.keys(a) as (keyof P)[];
    return keys.length === Object.keys(b).length && keys.every((k) => Object.is(a[k], b[k]));
}

export function memo<P extends object>(inner: FunctionComponent<P>) {
    return class Memo extends Component<P> {
        override shouldComponentUpdate(next: Readonly<P>): boolean {
            return !same<object>(this.props, next);
        }

        render(props: P): ComponentChild {
            return h(inner as FunctionComponent<object>, props);
        }
    };
}
