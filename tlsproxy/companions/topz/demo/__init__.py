"""`topz demo`: a few processes as a pod has them, and what topz shows of them."""

from tlsproxy.companions.topz.demo.story import demo

__all__ = ["demo"]
