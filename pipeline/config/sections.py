"""The sections of an experiment as frozen records; ``params.yaml`` and presets are their only sources of values.

Each stage reads some of them (see ``dvc.yaml``). What a key means is the comment beside its field, which ``facets
params`` shows (:mod:`pipeline.config.reference`). Those that no stage reads are in :mod:`pipeline.config.service`.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pipeline.config.backbones import require_backbone
from pipeline.config.ignores import Ignored, require_entries
from pipeline.config.ladders import LADDERS
from pipeline.config.likelihoods import LIKELIHOODS
from pipeline.config.parse import OneOf, Range
from pipeline.config.ranges import Count, Fraction, OpenFraction, Positive, Whole
from pipeline.config.service import IngestParams, PublishParams, ScheduleParams
from pipeline.config.sources import SOURCES


@dataclass(frozen=True)
class FeatureParams:
    """Images through a frozen network, whose features are clustered in place of pixels."""

    backbone: str  # "efficientnet_lite0", "timm/MODEL", "torchvision/MODEL", or "onnx"
    weights: str | None  # a file: .onnx, or safetensors of a model of torchvision; null: the backbone's own
    batch_size: Count  # images that it takes at once

    def __post_init__(self) -> None:
        require_backbone(self.backbone, self.weights)


@dataclass(frozen=True)
class PreprocessParams:
    """Where images come from and how they become one array."""

    source: Annotated[str, OneOf(SOURCES)]  # a named dataset, or what one's own data are
    path: str | None  # folder, file or URL of one's own data; null for the named datasets
    factors: str | None  # shapes3d and scenes: "configuration_1", "configuration_2" or "floor_hue=0,wall_hue=5"
    labels: str | None  # one's own data: "folder" (their names), "inside" (beside the images), a CSV, or null
    include: tuple[str, ...] | None  # patterns on paths of files, where * stands for anything, / too; null: all
    exclude: tuple[str, ...] | None  # such patterns of files that are left out; null: none
    follow_links: bool  # of a folder: links to folders, and to files outside it
    features: FeatureParams | None  # of images, in place of their pixels; null: none
    # Height and width of the prepared images, with features of the pictures that people see; null keeps the source's.
    size: tuple[Count, ...] | None
    fit: Literal["stretch", "crop", "pad"]  # how another aspect ratio becomes `size`
    channels: Literal["source", "grey", "rgb"]  # of the prepared images; source keeps theirs
    # What becomes white in 16-bit grey files and uint16 arrays, whose larger values are clipped; null: 65535.
    brightest: Annotated[int, Range(1, 65535)] | None
    test_fraction: OpenFraction  # test images of sources that have no test split of their own
    split_seed: Whole  # of the draw of that test split
    max_pixels: Count  # larger images are quarantined before they are decoded

    def __post_init__(self) -> None:
        if self.size is not None and len(self.size) != 2:
            raise ValueError(f"size must be [height, width] or null, got {list(self.size)}")
        if self.features is not None and self.size is None:
            raise ValueError("size must be that of the pictures which people see beside features, got null")
        if self.path is not None and not self.path.strip():
            raise ValueError("path must be a folder, a file or a URL, got an empty one; say where the images are")
        takes_path = SOURCES[self.source].takes_path
        if takes_path != (self.path is not None):
            rule = "needs a path" if takes_path else "takes no path (use null)"
            raise ValueError(f"source {self.source} {rule}, got path {self.path!r}")
        null = next((key for key in ("path", "labels") if "\0" in (getattr(self, key) or "")), None)
        if null is not None:
            raise ValueError(f"{null} must be a path, which holds no null character, got {getattr(self, null)!r}")
        for key in ("include", "exclude"):
            patterns = getattr(self, key)
            if patterns is not None and not SOURCES[self.source].has_files:
                got = f"got {list(patterns)}; use null"
                raise ValueError(f"{key} chooses files by their paths, which source {self.source} does not have, {got}")
            if patterns is not None and not all(patterns or [""]):
                raise ValueError(f"{key} needs patterns such as 'masks/*' or null, got {list(patterns)}")
        if self.follow_links and not SOURCES[self.source].is_folder:
            raise ValueError(f"follow_links is about folders, which source {self.source} is not, got true; use false")


@dataclass(frozen=True)
class ModelParams:
    """The Multi-Facet Clustering VAE (paper, section 3 and appendix D.4). Facet 0 is the shallowest."""

    # Ladder of dense or convolutional blocks, over residuals of features or pixels, or one shared trunk.
    family: Annotated[str, OneOf(LADDERS)]
    hidden: tuple[tuple[Count, ...], ...]  # widths (or channels) of the layers of each backbone block, shallowest first
    latent_dims: tuple[Count, ...]  # of each facet, shallowest first
    n_components: tuple[Count, ...]  # clusters of each facet at most, shallowest first
    covariance: tuple[Literal["diagonal", "full"], ...]  # of each facet's components
    mixing_weights: Literal["learned", "fixed"]  # shares of the components; fixed: all alike
    # Of a pixel; bernoulli for nearly black and white ones, standardised for directions of family residual.
    likelihood: Annotated[str, OneOf(LIKELIHOODS)]
    sigma: Positive  # deviation of the Gaussian likelihood, pixels in [0, 1]; where standardised starts to learn it
    output: Literal["sigmoid", "linear"]  # what gives the Gaussian mean; a Bernoulli always uses logits
    activation: Literal["relu", "elu"]  # of the hidden layers
    network_init: Literal["default", "data_dependent"]  # PyTorch's own start, or Kaiming's scaled by a first batch
    rung_gate: Positive  # weight of a rung beside the backbone in the dense decoder

    def __post_init__(self) -> None:
        lengths = [len(self.latent_dims), len(self.n_components), len(self.covariance)]
        if len(set(lengths)) != 1 or 0 in lengths:
            raise ValueError(
                "latent_dims, n_components and covariance need one entry a facet and at least one facet, "
                f"got {lengths[0]}, {lengths[1]} and {lengths[2]}"
            )
        kind = LADDERS[self.family]
        n_blocks = 1 if kind.is_shared else len(self.latent_dims)
        if len(self.hidden) != n_blocks or not all(self.hidden):
            raise ValueError(
                f"hidden needs {n_blocks} block(s) of at least one width for family {self.family}, "
                f"got {[list(block) for block in self.hidden]}"
            )
        if kind.takes_rows != (self.likelihood == "standardised"):
            raise ValueError(
                "family residual and likelihood standardised go together, "
                f"got {self.family} and {self.likelihood}; change one of them"
            )
        if kind.one_width and any(len(block) != 1 for block in self.hidden):
            raise ValueError(f"a {self.family} block has one width, got {[list(block) for block in self.hidden]}")

    @property
    def n_facets(self) -> int:
        """How many clusterings the model learns."""
        return len(self.latent_dims)


@dataclass(frozen=True)
class PretrainParams:
    """Stacked denoising autoencoder, VaDE's start of a dense ladder of one facet (paper, appendix D.5)."""

    layer_epochs: Count  # of every pair of layers
    epochs: Count  # of all layers together
    batch_size: Count  # images a step
    learning_rate: Positive  # of Adam
    corruption: Annotated[float, Range(0, 1, open_maximum=True)]  # part of a pair's inputs set to 0


@dataclass(frozen=True)
class InitMogParams:
    """The mixture's start: fitted on the latents of the untrained encoder (paper, appendix D.4)."""

    subsample: Count  # images used for the fit at most, drawn with a fixed seed
    reg_covar: Positive  # added to every variance, raised tenfold up to max_escalations times
    max_escalations: Whole  # how often reg_covar is raised before the fit is given up
    max_iter: Count  # iterations of a fit at most
    n_init: Count  # fits from other starts, of which the best is kept
    component_std: Annotated[float, Range(0.0032)]  # first standard deviation of components; variances stay above 1e-5
    # Before the fit; the fit's weights and covariances are then taken too. null: none.
    pretrain: PretrainParams | None
    # Of an image, in the graph whose spectral clusters a residual ladder starts with; 0: it starts with k-means.
    neighbours: Whole


@dataclass(frozen=True)
class PhaseParams:
    """One progressive phase: the deepest facet alone first, then one shallower facet more a phase."""

    epochs: Count  # passes over the training images
    fade_in: Fraction  # part of the phase over which the newcomer's coefficient rises from 0 to 1
    refit_at: Fraction  # part of the phase after which the mixtures are fitted anew, 1 its end; 0 leaves them


@dataclass(frozen=True)
class HintParams:
    """What hints, where there are any, count in training (see ``pipeline.training.hint_term``)."""

    weight: Positive  # of the hints' term beside the bound
    images: Annotated[int, Range(2)]  # hinted images a step at most


@dataclass(frozen=True)
class TrainParams:
    """Optimisation and schedule (paper, table 3 and appendix D.3)."""

    phases: tuple[PhaseParams, ...]  # one a facet; a single phase trains all facets at once
    batch_size: Count  # images a step
    learning_rate: Positive  # of Adam, at its highest
    mixture_rate: Positive  # learning rate of the mixture's parameters, as a multiple of learning_rate
    betas: tuple[OpenFraction, ...]  # Adam's two decay rates
    warmup_steps: Whole  # steps over which the learning rate rises to its highest
    decay: Literal["constant", "cosine", "restarts"]  # of learning_rate: a cosine to 0 over the run, or one a phase
    kl_weight: Fraction  # weight of the KL terms during the first kl_epochs epochs
    kl_epochs: Whole  # first epochs with kl_weight; 1 afterwards
    n_samples: Count  # Monte-Carlo samples of the latents a step (L, eq. 58-60)
    validation_fraction: Annotated[float, Range(0, 0.5)]  # of the training split; never trained on
    hints: HintParams
    ignores: tuple[Ignored | None, ...] | None  # what each facet is trained not to see; null: nothing
    view_weight: Annotated[float, Range(0)]  # of the clusters of image and view being alike (training/view_term.py)
    min_entropy: Fraction  # a seed is collapsed if a facet's cluster sizes have less entropy than this part of log K
    precision: Literal["auto", "float32", "bfloat16"]  # of products; auto: bfloat16 where the device multiplies it
    device: Literal["auto", "cpu", "cuda"]  # auto: a GPU where there is one
    checkpoint_seconds: Positive  # between checkpoints, from which a killed run goes on
    min_healthy_seeds: Count  # seeds that must train without a fault, or there is no model

    def __post_init__(self) -> None:
        if len(self.betas) != 2:
            raise ValueError(f"betas needs two numbers, got {len(self.betas)}")
        if not self.phases:
            raise ValueError("phases needs at least one phase, got none")


@dataclass(frozen=True)
class ScoreParams:
    """Scoring against labels, the only place that sees them."""

    baselines: bool  # k-means and a Gaussian mixture on raw pixels
    baseline_images: Count  # training images used for the baselines at most
    bootstrap: Count  # resamples of the paired interval against k-means


@dataclass(frozen=True)
class AssignParams:
    """Which component every image belongs to."""

    assigner: Literal["exact", "mean"]  # exact: in expectation over q(z | x) (eq. 12); mean: at its mean
    batch_size: Count  # images at a time
    responsibilities: bool  # also store all responsibilities


@dataclass(frozen=True)
class ReportParams:
    """What the page shows."""

    examples: Count  # example images a cluster
    generated: Count  # generated samples a cluster
    temperature: Positive  # of generated samples
    map_points: Count  # points of a latent map
    sprite_size: Count  # pixels of the longer side of a thumbnail


@dataclass(frozen=True)
class Experiment:
    """A source, a model and a schedule under one name."""

    seeds: tuple[Whole, ...]  # one training each, of which the best is published; all different
    preprocess: PreprocessParams
    model: ModelParams
    init_mog: InitMogParams
    train: TrainParams
    score: ScoreParams
    assign: AssignParams
    report: ReportParams
    publish: PublishParams
    ingest: IngestParams
    schedule: ScheduleParams

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds needs at least one number and no number twice, got {list(self.seeds)}")
        if len(self.train.phases) not in (1, self.model.n_facets):
            raise ValueError(
                f"train.phases needs one phase a facet ({self.model.n_facets}) or a single one, "
                f"got {len(self.train.phases)}"
            )
        require_entries(self.train.ignores, self.model.n_facets)
        if self.init_mog.pretrain and (self.model.family != "dense" or self.model.n_facets != 1):
            raise ValueError(
                "init_mog.pretrain needs a dense model of one facet, "
                f"got family {self.model.family} with {self.model.n_facets} facets; set it to null"
            )
        if self.init_mog.neighbours and not LADDERS[self.model.family].takes_rows:
            raise ValueError(
                "init_mog.neighbours needs a model of family residual, "
                f"got {self.init_mog.neighbours} with family {self.model.family}; set it to 0"
            )
        if self.train.min_healthy_seeds > len(self.seeds):
            raise ValueError(
                f"train.min_healthy_seeds must be at most the number of seeds ({len(self.seeds)}), "
                f"got {self.train.min_healthy_seeds}"
            )
