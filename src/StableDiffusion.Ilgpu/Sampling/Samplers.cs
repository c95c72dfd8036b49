using StableDiffusion.Ilgpu.Sampling;

namespace StableDiffusion.Ilgpu;

/// <summary>The list of samplers. A new one is one file beside this one and one line here.</summary>
public static class Samplers
{
    /// <summary>Euler's method with ancestral noise.</summary>
    public static Sampler EulerAncestral { get; } = new EulerAncestral();

    /// <summary>Euler's method.</summary>
    public static Sampler Euler { get; } = new Euler();

    /// <summary>Heun's method; two model evaluations a step.</summary>
    public static Sampler Heun { get; } = new Heun();

    /// <summary>DPM-Solver-2 of k-diffusion; two model evaluations a step.</summary>
    public static Sampler Dpm2 { get; } = new Dpm2("dpm2", "DPM2", ancestral: false, "dpm_2", "kdpm2");

    /// <summary>DPM-Solver-2 of k-diffusion with ancestral noise; two model evaluations a step.</summary>
    public static Sampler Dpm2Ancestral { get; } = new Dpm2("dpm2_a", "DPM2 a", ancestral: true, "dpm_2_ancestral", "kdpm2_ancestral");

    /// <summary>Linear multistep of fourth order.</summary>
    public static Sampler Lms { get; } = new Lms();

    /// <summary>DPM-Solver++ of second order, single-step.</summary>
    public static Sampler DpmPlusPlus2S { get; } = new DpmPlusPlus2S();

    /// <summary>DPM-Solver++ of second order, single-step, with ancestral noise; two model evaluations a step.</summary>
    public static Sampler DpmPlusPlus2SAncestral { get; } = new DpmPlusPlus2SAncestral();

    /// <summary>DPM-Solver++ of second order, multistep.</summary>
    public static Sampler DpmPlusPlus2M { get; } = new DpmSolverMultistep("dpm++2m", "DPM++ 2M", aliases: "dpmpp_2m");

    /// <summary>DPM-Solver++ of second order, multistep, in its trapezoidal form.</summary>
    public static Sampler DpmPlusPlus2MHeun { get; } = new DpmSolverMultistep("dpm++2m_heun", "DPM++ 2M Heun", heun: true, aliases: "dpmpp_2m_heun");

    /// <summary>DPM-Solver++ of third order, multistep.</summary>
    public static Sampler DpmPlusPlus3M { get; } = new DpmSolverMultistep("dpm++3m", "DPM++ 3M", order: 3, aliases: "dpmpp_3m");

    /// <summary>DPM-Solver++ for the stochastic equation, multistep.</summary>
    public static Sampler DpmPlusPlus2MSde { get; } = new DpmSolverMultistep("dpm++2m_sde", "DPM++ 2M SDE", eta: 1, aliases: "dpmpp_2m_sde");

    /// <summary>DPM-Solver++ for the stochastic equation, single-step; two model evaluations a step.</summary>
    public static Sampler DpmPlusPlusSde { get; } = new DpmPlusPlusSde();

    /// <summary>DPM-Solver of second order, multistep: the predecessor of DPM-Solver++, on the noise.</summary>
    public static Sampler Dpm2M { get; } = new DpmSolverMultistep("dpm2m", "DPM 2M", onNoise: true, aliases: "dpm_2m");

    /// <summary>Unified predictor and corrector of second order, B2(h).</summary>
    public static Sampler UniPc { get; } = new UniPc("unipc", "UniPC", aliases: "uni_pc_bh2");

    /// <summary>Unified predictor and corrector of second order, B1(h).</summary>
    public static Sampler UniPcBh1 { get; } = new UniPc("unipc_bh1", "UniPC bh1", bh1: true, aliases: "uni_pc");

    /// <summary>Unified predictor and corrector of third order, B2(h).</summary>
    public static Sampler UniPc3 { get; } = new UniPc("unipc3", "UniPC 3", order: 3);

    /// <summary>Diffusion exponential integrator of second order.</summary>
    public static Sampler Deis { get; } = new Deis();

    /// <summary>Denoising diffusion implicit models; without noise unless an eta is given.</summary>
    public static Sampler Ddim { get; } = new Ddim();

    /// <summary>The same with trailing timesteps, whatever the model's configuration says.</summary>
    public static Sampler DdimTrailing { get; } = new Ddim("ddim_trailing", "DDIM trailing", TimestepSpacing.Trailing);

    /// <summary>Denoising diffusion probabilistic models.</summary>
    public static Sampler Ddpm { get; } = new Ddpm();

    /// <summary>Pseudo linear multistep.</summary>
    public static Sampler Pndm { get; } = new Pndm();

    /// <summary>For latent consistency models.</summary>
    public static Sampler Lcm { get; } = new Lcm();

    /// <summary>For trajectory consistency models.</summary>
    public static Sampler Tcd { get; } = new Tcd();

    /// <summary>Every sampler.</summary>
    public static IReadOnlyList<Sampler> All { get; } =
    [
        EulerAncestral, Euler, Heun, Dpm2, Dpm2Ancestral, Lms, DpmPlusPlus2S, DpmPlusPlus2SAncestral, DpmPlusPlus2M, DpmPlusPlus2MHeun,
        DpmPlusPlus3M, DpmPlusPlus2MSde, DpmPlusPlusSde, Dpm2M, UniPc, UniPcBh1, UniPc3, Deis, Ddim, DdimTrailing, Ddpm, Pndm, Lcm, Tcd,
    ];

    /// <summary>The sampler of a short name, an alias or a display name, in any case.</summary>
    /// <exception cref="StableDiffusionException">There is none; the message lists the short names and aliases.</exception>
    public static Sampler Find(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        bool IsName(string known) => string.Equals(known, name, StringComparison.OrdinalIgnoreCase);
        return All.FirstOrDefault(s => IsName(s.Name) || IsName(s.DisplayName) || s.Aliases.Any(IsName))
            ?? throw new StableDiffusionException(
                $"unknown sampler \"{name}\": choose one of {string.Join(", ", All.SelectMany(s => s.Aliases.Prepend(s.Name)))}");
    }
}
