using System.Text.Json;

namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>Which training steps a run visits.</summary>
internal enum TimestepSpacing
{
    /// <summary>Multiples of a whole stride, from 0 up; the noisiest steps are left out.</summary>
    Leading,

    /// <summary>Evenly from the first to the last.</summary>
    Linspace,

    /// <summary>Evenly from the last down; the least noisy steps are left out.</summary>
    Trailing,
}

/// <summary>
/// The noise levels that a model was trained with and what it predicts: diffusers' scheduler_config.json without the sampler.
/// At training step t the model sees x = √ᾱ x0 + √(1 - ᾱ) ε with ᾱ = <see cref="Alpha"/>(t).
/// </summary>
internal sealed class NoiseSchedule
{
    // Infinite noise has no place in a list of sigmas; diffusers takes this ᾱ for a last one of 0 there.
    private const double SmallestAlpha = 1.0 / (1 << 24);

    /// <summary>A damaged configuration must not decide how much is allocated.</summary>
    private const int MostTrainSteps = 100_000;

    private readonly string description;
    private readonly double[] trained;
    private readonly double[] alphas;
    private readonly double[] sigmas;

    private NoiseSchedule(string description, double[] trained, bool rescale)
    {
        this.description = description;
        this.trained = trained;
        alphas = rescale ? Betas.RescaleToZeroTerminalSnr(trained) : trained;
        sigmas = [.. alphas.Select(a => a == 0 ? SmallestAlpha : a).Select(a => Math.Sqrt((1 - a) / a))];
    }

    /// <summary>Number of training steps; timesteps are 0 to this - 1.</summary>
    public int TrainSteps => alphas.Length;

    public required PredictionType Prediction { get; init; }

    /// <summary>Null where the configuration leaves it to the sampler's own default.</summary>
    public required TimestepSpacing? Spacing { get; init; }

    /// <summary>Added to the timesteps of <see cref="TimestepSpacing.Leading"/>.</summary>
    public required int StepsOffset { get; init; }

    /// <summary>Whether DDIM and PNDM end at ᾱ = 1 or at that of step 0; null leaves it to the sampler's own default.</summary>
    public required bool? SetAlphaToOne { get; init; }

    /// <summary>Whether PNDM does without its Runge-Kutta start.</summary>
    public required bool SkipPrkSteps { get; init; }

    /// <summary>Where runs over sigmas end: 0, or the sigma of step 0.</summary>
    public required double FinalSigma { get; init; }

    /// <summary>How many evenly spaced training steps the consistency models' samplers choose from.</summary>
    public required int ConsistencySteps { get; init; }

    /// <summary>What the latent consistency models' boundary condition multiplies timesteps with.</summary>
    public required double TimestepScaling { get; init; }

    /// <summary>
    /// Reads diffusers' scheduler configuration. Keys that are left out take the defaults of diffusers' classes; the class itself, solver
    /// options, use_karras_sigmas and clip_sample (which diffusers' Stable Diffusion pipelines switch off) are not looked at.
    /// </summary>
    /// <exception cref="StableDiffusionException">A value is not of its kind or means something that is not built.</exception>
    public static NoiseSchedule Parse(JsonElement config, string description)
    {
        if (config.ValueKind != JsonValueKind.Object)
        {
            throw new StableDiffusionException($"{description}: is not a JSON object");
        }

        var reader = new ConfigReader(config, description);
        var trained = Betas.AlphasCumprod(ReadBetas(reader));
        return new NoiseSchedule(description, trained, reader.Flag("rescale_betas_zero_snr", false))
        {
            Prediction = Choose(reader, "prediction_type", "epsilon", ("epsilon", PredictionType.Epsilon), ("v_prediction", PredictionType.V)),
            Spacing = reader.Has("timestep_spacing")
                ? Choose(
                    reader,
                    "timestep_spacing",
                    "",
                    ("leading", TimestepSpacing.Leading),
                    ("linspace", TimestepSpacing.Linspace),
                    ("trailing", TimestepSpacing.Trailing))
                : null,
            StepsOffset = reader.InRange("steps_offset", reader.Int("steps_offset", 0), 0, MostTrainSteps),
            SetAlphaToOne = reader.Has("set_alpha_to_one") ? reader.Flag("set_alpha_to_one", false) : null,
            SkipPrkSteps = reader.Flag("skip_prk_steps", false),
            FinalSigma = Choose(
                reader, "final_sigmas_type", "zero", ("zero", 0), ("sigma_min", Math.Sqrt((1 - trained[0]) / trained[0]))),
            ConsistencySteps = Math.Min(trained.Length, reader.Size("original_inference_steps", MostTrainSteps, 50)),
            TimestepScaling = reader.Positive("timestep_scaling", 10),
        };
    }

    /// <summary>ᾱ of a training step; 0 for the last one of a schedule rescaled to zero terminal signal-to-noise ratio.</summary>
    public double Alpha(int timestep) => alphas[timestep];

    /// <summary>The same before rescaling, for samplers that cannot pass a level without signal.</summary>
    public double AlphaBeforeRescaling(int timestep) => trained[timestep];

    /// <summary>σ = √((1 - ᾱ) / ᾱ), linear between the training steps.</summary>
    public double Sigma(double timestep)
    {
        var low = Math.Clamp((int)timestep, 0, TrainSteps - 1);
        var high = Math.Min(low + 1, TrainSteps - 1);
        return sigmas[low] + (Math.Clamp(timestep - low, 0, 1) * (sigmas[high] - sigmas[low]));
    }

    /// <summary>The same, linear in log σ between the training steps, as k-diffusion has it: the inverse of <see cref="Timestep"/>.</summary>
    public double GeometricSigma(double timestep)
    {
        var low = Math.Clamp((int)timestep, 0, Math.Max(0, TrainSteps - 2));
        var high = Math.Min(low + 1, TrainSteps - 1);
        return sigmas[low] * Math.Pow(sigmas[high] / sigmas[low], timestep - low);
    }

    /// <summary>The timestep of a sigma, linear in log σ between the training steps; the inverse of <see cref="Sigma"/> at these.</summary>
    public double Timestep(double sigma)
    {
        var above = Array.FindIndex(sigmas, s => s > sigma);
        var low = Math.Clamp((above < 0 ? TrainSteps : above) - 1, 0, Math.Max(0, TrainSteps - 2));
        var high = Math.Min(low + 1, TrainSteps - 1);
        return high == low ? low : low + Math.Clamp(Math.Log(sigma / sigmas[low]) / Math.Log(sigmas[high] / sigmas[low]), 0, 1);
    }

    /// <summary>The noise ε at level ᾱ.</summary>
    public Linear Epsilon(double alpha) => Prediction == PredictionType.V ? new(Math.Sqrt(1 - alpha), Math.Sqrt(alpha)) : new(0, 1);

    /// <summary>The picture x0 at level ᾱ.</summary>
    public Linear Denoised(double alpha) =>
        Prediction == PredictionType.V ? new(Math.Sqrt(alpha), -Math.Sqrt(1 - alpha))
        : alpha > 0 ? new(1 / Math.Sqrt(alpha), -Math.Sqrt((1 - alpha) / alpha))
        : throw new StableDiffusionException(
            $"{description}: with rescale_betas_zero_snr the last training step has no signal; prediction_type epsilon cannot start there, only v_prediction");

    /// <summary>The timesteps of a run, noisiest first; fractional with <see cref="TimestepSpacing.Linspace"/>.</summary>
    public double[] Timesteps(TimestepSpacing spacing, int steps)
    {
        double Leading(int i) => ((steps - 1 - i) * (TrainSteps / steps)) + StepsOffset;
        double Linspace(int i) => Math.Min(TrainSteps - 1, (steps - 1 - i) * ((TrainSteps - 1.0) / Math.Max(1, steps - 1)));

        // The stride is the difference of the first two, rounding included, as in numpy.arange: it decides where halves are rounded to.
        var stride = TrainSteps - (TrainSteps - ((double)TrainSteps / steps));
        double Trailing(int i) => Math.Round(TrainSteps - (i * stride)) - 1;

        var timesteps = new double[steps];
        for (var i = 0; i < steps; i++)
        {
            timesteps[i] = spacing switch
            {
                TimestepSpacing.Leading => Leading(i),
                TimestepSpacing.Linspace => Linspace(i),
                _ => Trailing(i),
            };
        }

        return timesteps[0] < TrainSteps
            ? timesteps
            : throw new StableDiffusionException(
                $"{description}: {steps} steps with steps_offset {StepsOffset} begin at timestep {NumberText.Of(timesteps[0])}; the last one is {TrainSteps - 1}");
    }

    /// <summary>The same, rounded to whole training steps.</summary>
    public int[] WholeTimesteps(TimestepSpacing spacing, int steps) => [.. Timesteps(spacing, steps).Select(t => (int)Math.Round(t))];

    /// <summary>
    /// The timesteps of the consistency models' samplers, evenly chosen from the <see cref="ConsistencySteps"/> that distillation used.
    /// </summary>
    /// <exception cref="StableDiffusionException">There are fewer to choose from.</exception>
    public int[] ConsistencyTimesteps(int steps) => steps <= ConsistencySteps
        ? [.. Enumerable.Range(0, steps)
            .Select(i => ((ConsistencySteps - (int)(i * ((double)ConsistencySteps / steps))) * (TrainSteps / ConsistencySteps)) - 1)]
        : throw new StableDiffusionException(
            $"steps {steps}: the samplers of consistency models choose from {ConsistencySteps} (the model's original_inference_steps)");

    private static float[] ReadBetas(ConfigReader reader)
    {
        var count = reader.Size("num_train_timesteps", MostTrainSteps, 1000);

        var start = reader.Number("beta_start", 0.0001);
        var end = reader.Number("beta_end", 0.02);
        var betas = reader.Has("trained_betas")
            ? [.. reader.Numbers("trained_betas").Select(b => (float)b)]
            : Choose<Func<float[]>>(
                reader,
                "beta_schedule",
                "linear",
                ("linear", () => Betas.Linear(start, end, count)),
                ("scaled_linear", () => Betas.ScaledLinear(start, end, count)),
                ("squaredcos_cap_v2", () => Betas.SquaredCosine(count)))();
        if (betas.Length != count)
        {
            throw reader.Error("trained_betas", $"has {betas.Length} entries for {count} num_train_timesteps");
        }

        var bad = Array.FindIndex(betas, b => !(b > 0 && b < 1));
        return bad < 0
            ? betas
            : throw reader.Error(
                reader.Has("trained_betas") ? "trained_betas" : "beta_start, beta_end", $"give {NumberText.Of(betas[bad])} at step {bad}; betas lie between 0 and 1");
    }

    private static T Choose<T>(ConfigReader reader, string key, string fallback, params (string Name, T Value)[] choices)
    {
        var name = reader.Text(key, fallback);
        foreach (var choice in choices)
        {
            if (choice.Name == name)
            {
                return choice.Value;
            }
        }

        throw reader.Error(key, $"is {name}; only {string.Join(", ", choices.Select(c => c.Name))} are supported");
    }
}
