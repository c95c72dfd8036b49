namespace StableDiffusion.Ilgpu;

/// <summary>Looks at the latents of a run between its steps.</summary>
/// <param name="steps">Model evaluations of the run and of those that follow it.</param>
/// <param name="interval">Every how many steps the denoised latents are asked for; 0 for never.</param>
/// <param name="noisyInterval">The same for the latents as they are, from before the first step on.</param>
/// <param name="show">
/// Gets the run, the number of steps done, the denoised latents and those that the model sees, channels first; null where not asked for.
/// </param>
/// <param name="before">Steps of the runs that this one follows.</param>
internal sealed class StepWatch(int steps, int interval, int noisyInterval, Action<SamplingRun, int, float[]?, float[]?> show, int before = 0)
{
    /// <summary>For a run that goes on where this one ends.</summary>
    /// <param name="done">Steps of this one.</param>
    public StepWatch Follow(int done) => new(steps, interval, noisyInterval, show, before + done);

    public bool WantsDenoised(int done) => before + done > 0 && IsDue(done, interval);

    /// <summary>Whether it looks at anything after <paramref name="done"/> steps.</summary>
    public bool IsDue(int done) => WantsDenoised(done) || IsDue(done, noisyInterval);

    /// <summary>Shows what is due after <paramref name="done"/> steps.</summary>
    /// <returns>Whether anything was.</returns>
    public bool Look(SamplingRun run, int done, float[]? denoised, Func<float[]>? readNoisy)
    {
        var noisy = IsDue(done, noisyInterval) ? readNoisy?.Invoke() : null;
        if (denoised is null && noisy is null)
        {
            return false;
        }

        show(run, before + done, denoised, noisy);
        return true;
    }

    private bool IsDue(int done, int every) => every > 0 && (before + done) % every == 0 && before + done < steps;
}
