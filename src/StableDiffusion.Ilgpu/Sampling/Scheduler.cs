namespace StableDiffusion.Ilgpu;

/// <summary>How the noise levels of a run are spaced.</summary>
public enum Scheduler
{
    /// <summary>The levels of the model's own training steps, spaced as its scheduler configuration says.</summary>
    Discrete,

    /// <summary>The spacing of Karras et al. 2022 (arXiv:2206.00364, equation 5, rho 7).</summary>
    Karras,

    /// <summary>Even in the logarithm of σ.</summary>
    Exponential,

    /// <summary>Even in the training steps from the last one down, without the one where the run ends.</summary>
    SgmUniform,

    /// <summary>Whole training steps from the last one down, evenly picked.</summary>
    Simple,

    /// <summary>Whole training steps by the beta distribution with α = β = 0.6 (arXiv:2407.12173): dense at both ends.</summary>
    Beta,

    /// <summary>The levels optimised for Stable Diffusion 1.5 by Sabour et al. 2024 (arXiv:2404.14507), log-linear between its ten steps.</summary>
    AlignYourSteps,

    /// <summary>Even in the training steps from the last one to the first, whatever the model's configuration says: k-diffusion's spacing.</summary>
    Normal,
}
