using System.Text.Json;
using StableDiffusion.Ilgpu.Sampling;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>The library's samplers for diffusers' scheduler classes and their options.</summary>
internal static class DiffusersSamplers
{
    /// <summary>Null where the library has no such sampler.</summary>
    public static Sampler? Find(string className, JsonElement config) => className switch
    {
        _ when Is(config, "use_beta_sigmas") || Is(config, "use_lu_lambdas") || Is(config, "thresholding") || Is(config, "euler_at_final") => null,
        _ when config.TryGetProperty("lower_order_final", out var lower) && lower.ValueKind == JsonValueKind.False => null,
        "DDPMScheduler" when Text(config, "variance_type") is "fixed_small" or "fixed_large" =>
            new Ddpm(largeVariance: Text(config, "variance_type") == "fixed_large"),
        "DDIMScheduler" => Samplers.Ddim,
        "PNDMScheduler" => Samplers.Pndm,
        "LMSDiscreteScheduler" => Samplers.Lms,
        "EulerDiscreteScheduler" when Text(config, "interpolation_type") == "linear" => Samplers.Euler,
        "EulerAncestralDiscreteScheduler" => Samplers.EulerAncestral,
        "HeunDiscreteScheduler" => Samplers.Heun,
        "KDPM2DiscreteScheduler" => Samplers.Dpm2,
        "KDPM2AncestralDiscreteScheduler" => Samplers.Dpm2Ancestral,
        "DPMSolverMultistepScheduler" => Multistep(
            Text(config, "algorithm_type"), config.GetProperty("solver_order").GetInt32(), Text(config, "solver_type") == "heun"),
        "DPMSolverSinglestepScheduler" when Order(config) == 2 && Text(config, "algorithm_type") == "dpmsolver++"
            && Text(config, "solver_type") == "midpoint" => Samplers.DpmPlusPlus2S,
        "DPMSolverSDEScheduler" => Samplers.DpmPlusPlusSde,
        "UniPCMultistepScheduler" when Is(config, "predict_x0") && Order(config) is 2 or 3 && config.GetProperty("disable_corrector").GetArrayLength() == 0 =>
            (Text(config, "solver_type"), Order(config)) switch
            {
                ("bh2", 2) => Samplers.UniPc,
                ("bh2", 3) => Samplers.UniPc3,
                ("bh1", 2) => Samplers.UniPcBh1,
                _ => null,
            },
        "DEISMultistepScheduler" when Order(config) == 2 && Text(config, "solver_type") == "logrho" => Samplers.Deis,
        "LCMScheduler" => Samplers.Lcm,
        _ => null,
    };

    public static Scheduler SchedulerOf(JsonElement config) => Is(config, "use_karras_sigmas") ? Scheduler.Karras
        : Is(config, "use_exponential_sigmas") ? Scheduler.Exponential
        : Scheduler.Discrete;

    private static Sampler? Multistep(string? algorithm, int order, bool heun) => (algorithm, order, heun) switch
    {
        ("dpmsolver++", 2, false) => Samplers.DpmPlusPlus2M,
        ("dpmsolver++", 2, true) => Samplers.DpmPlusPlus2MHeun,
        ("dpmsolver++", 3, _) => Samplers.DpmPlusPlus3M,
        ("sde-dpmsolver++", 2, false) => Samplers.DpmPlusPlus2MSde,
        ("dpmsolver", 2, false) => Samplers.Dpm2M,
        _ => null,
    };

    private static int Order(JsonElement config) => config.GetProperty("solver_order").GetInt32();

    private static bool Is(JsonElement config, string key) => config.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.True;

    private static string? Text(JsonElement config, string key) => config.GetProperty(key).GetString();
}
