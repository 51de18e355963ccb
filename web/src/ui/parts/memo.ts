/* A component that is painted again only when one of its properties, or a signal that it reads, changes. */
import { Component, type ComponentChild, type FunctionComponent } from 'preact';

export function same<P extends object>(a: P, b: P): boolean {
    const keys = Object.keys(a) as (keyof P)[];
    return keys.length === Object.keys(b).length && keys.every((k) => Object.is(a[k], b[k]));
}

export function memo<P extends object>(inner: FunctionComponent<P>) {
    return class Memo extends Component<P> {
        /* A signal or a hook that has changed sets the state to a new one. */
        override shouldComponentUpdate(next: Readonly<P>, state: Readonly<object>): boolean {
            return state !== this.state || !same<object>(this.props, next);
        }

        render(props: P): ComponentChild {
            return inner(props);
        }
    };
}
