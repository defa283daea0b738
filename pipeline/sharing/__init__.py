"""What one clone of a project hands to the others: a share, at any address that fsspec knows.

A share is a folder ``ADDRESS/published/<experiment>/``. Its ``blobs/`` are files named by their content and never
changed; one of them, a listing, says which file of a repository each blob is. ``head.json`` names the listing. It is
written last, in one step, and only by somebody who has seen the one before.
"""

from pipeline.sharing.records import Blob as Blob
from pipeline.sharing.records import Head as Head
from pipeline.sharing.records import Listing as Listing
from pipeline.sharing.store import Overtaken as Overtaken
from pipeline.sharing.store import Store as Store
from pipeline.sharing.store import open_store as open_store
