namespace StableDiffusion.Ilgpu;

/// <summary>
/// What a run takes from a given picture: the latent that it starts from, the part that stays, what an inpainting UNet reads beside the latent.
/// Noise is drawn in the order of diffusers' pipelines: the picture's latent, the start, the masked picture's latent.
/// </summary>
internal sealed class PictureStart
{
    private readonly PictureLatent latent;
    private readonly PictureLatent? maskedLatent;
    private readonly float[]? mask;
    private readonly bool isInpaintingModel;
    private readonly bool fromNoise;
    private readonly bool meanLatent;

    private PictureStart(
        PictureLatent latent, PictureLatent? maskedLatent, float[]? mask, bool isInpaintingModel, bool fromNoise, bool meanLatent) =>
        (this.latent, this.maskedLatent, this.mask, this.isInpaintingModel, this.fromNoise, this.meanLatent) =
            (latent, maskedLatent, mask, isInpaintingModel, fromNoise, meanLatent);

    /// <summary>
    /// The step that a run of <paramref name="steps"/> steps begins with, as diffusers counts it: all of them where none is left to take.
    /// </summary>
    public static int FirstStep(int steps, double strength) => steps - Math.Min((int)(steps * strength), steps);

    /// <param name="encode">Gives the latent of a picture of this size, channels last, -1 … 1.</param>
    /// <param name="model">Whether it is an inpainting model.</param>
    /// <param name="picture">Channels last, -1 … 1.</param>
    /// <param name="mask">One value a pixel, 1 where the picture is drawn anew; null for everywhere.</param>
    /// <param name="height">Of the picture.</param>
    /// <param name="width">Of the picture.</param>
    /// <param name="firstStep">Of the plan.</param>
    /// <param name="meanLatent">The latent is the mean of its distribution, not drawn from it.</param>
    public static PictureStart Create(
        Func<float[], PictureLatent> encode, LoadedModel model, float[] picture, float[]? mask, int height, int width, int firstStep, bool meanLatent)
    {
        var latent = encode(picture);
        var channels = picture.Length / (height * width);
        var maskedLatent = mask is null || !model.IsInpainting ? null
            : encode([.. picture.Select((v, i) => mask[i / channels] < 0.5f ? v : 0)]);
        return new PictureStart(
            latent, maskedLatent, mask is null ? null : Shrink(mask, height, width, model.VaeConfig.PixelsPerLatent), model.IsInpainting,
            mask is not null && firstStep == 0, meanLatent);
    }

    /// <summary>A run that starts from the picture.</summary>
    public SamplingRun Apply(SamplingRun run)
    {
        var needed = !(isInpaintingModel && fromNoise);
        var start = needed ? Sample(latent, run) : null;
        var noise = run.Draw();
        run = run with { StartNoise = noise, Start = fromNoise ? null : start };
        if (mask is null)
        {
            return run;
        }

        // The masked picture's latent is drawn even where it is not read, so that the noise of later steps stays diffusers'.
        var masked = Sample(maskedLatent ?? latent, run);
        return isInpaintingModel
            ? run with { Conditions = Beside(masked, run.Pictures) }
            : run with { Blend = new MaskedLatent(start!, mask) };
    }

    /// <summary>
    /// A run that starts from latents of its own, those of a first pass enlarged: only the mask is this picture's. After the noise of the start
    /// it draws that of the latent which stays, or which an inpainting UNet reads.
    /// </summary>
    public SamplingRun Keep(SamplingRun run)
    {
        if (mask is null)
        {
            return run;
        }

        run = run with { StartNoise = run.Draw() };
        return isInpaintingModel
            ? run with { Conditions = Beside(Sample(maskedLatent!, run), run.Pictures) }
            : run with { Blend = new MaskedLatent(Sample(latent, run), mask) };
    }

    private float[] Sample(PictureLatent from, SamplingRun run)
    {
        if (!from.HasVariance || meanLatent)
        {
            return [.. Enumerable.Range(0, run.Pictures).SelectMany(_ => from.Sample([]))];
        }

        var noise = run.Draw();
        var size = noise.Length / run.Pictures;
        return [.. Enumerable.Range(0, run.Pictures).SelectMany(i => from.Sample(noise.AsSpan(i * size, size)))];
    }

    /// <summary>The mask, then the masked picture's latent, of each picture; the mask is hard here, as such models know it.</summary>
    private float[] Beside(float[] masked, int pictures)
    {
        float[] hard = [.. mask!.Select(m => m < 0.5f ? 0f : 1f)];
        var size = masked.Length / pictures;
        return [.. Enumerable.Range(0, pictures).SelectMany(i => hard.Concat(masked.Skip(i * size).Take(size)))];
    }

    /// <summary>The mask's value at the upper left pixel of each latent pixel.</summary>
    private static float[] Shrink(float[] mask, int height, int width, int scale) =>
    [..
        from y in Enumerable.Range(0, height / scale)
        from x in Enumerable.Range(0, width / scale)
        select mask[(y * scale * width) + (x * scale)]];
}
