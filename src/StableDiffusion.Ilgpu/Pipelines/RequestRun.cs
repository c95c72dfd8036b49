using System.Diagnostics;
using StableDiffusion.Ilgpu.Sampling;
using StableDiffusion.Ilgpu.Sampling.Noise;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu;

/// <summary>A request that a model can draw, planned; and its drawing, batch by batch.</summary>
/// <typeparam name="T">What activations are stored as.</typeparam>
internal sealed class RequestRun<T> where T : unmanaged
{
    private readonly DiffusionEngine<T> engine;
    private readonly LoadedModel model;
    private readonly GenerationRequest request;
    private readonly GenerationTimings timings;
    private readonly int scale;
    private readonly (int Rows, int Columns) size;
    private readonly (int Rows, int Columns) finalSize;
    private readonly SamplingPlan plan;
    private readonly PictureInput? picture;
    private readonly HiresPass? hires;
    private readonly PictureInput? finalPicture;

    /// <summary>Plans say what is wrong with a request, so all of them are made here, before anything is computed.</summary>
    /// <param name="engine">Computes it.</param>
    /// <param name="model">The engine's.</param>
    /// <param name="request">What to draw.</param>
    /// <param name="timings">What it takes is added to them.</param>
    /// <exception cref="StableDiffusionException">A value of the request cannot be used.</exception>
    public RequestRun(DiffusionEngine<T> engine, LoadedModel model, GenerationRequest request, GenerationTimings timings)
    {
        (this.engine, this.model, this.request, this.timings) = (engine, model, request, timings);
        request.Validate();
        PreviewDecoder<T>.Check(request, model);
        PromptConditioning.Check(request, model);
        scale = model.VaeConfig.PixelsPerLatent;
        size = model.LatentSize(request);
        plan = request.Sampler.Plan(model.Schedule, request.Steps, request.Scheduler, request.FirstStep, request.Eta);
        picture = PictureInput.Create(request, model, size.Columns * scale, size.Rows * scale);
        hires = HiresPass.Create(request, model, size.Rows, size.Columns);
        finalSize = hires is null ? size : (hires.Rows, hires.Columns);
        finalPicture = hires is null ? picture : PictureInput.Create(request, model, finalSize.Columns * scale, finalSize.Rows * scale);
    }

    private bool IsGuided => request.GuidanceScale != 1;

    private int Steps => plan.Steps.Count + (hires?.Plan.Steps.Count ?? 0);

    /// <summary>Draws the pictures as they are asked for, all of a batch with its first.</summary>
    /// <param name="progress">Is told how far it is.</param>
    /// <param name="cancellationToken">Stops it within one step, or two that are short.</param>
    public IEnumerable<GeneratedImage> Draw(IProgress<GenerationProgress>? progress, CancellationToken cancellationToken)
    {
        Report(GenerationStage.Text, 0, 0);
        var start = Stopwatch.GetTimestamp();
        var decoder = new LatentDecoder<T>(engine, model, request);
        decoder.Reserve(finalSize.Rows, finalSize.Columns);
        var conditioning = new PromptConditioning(model, (ids, clipSkip) => engine.Encode(ids, clipSkip, cancellationToken));
        var context = conditioning.Encode(request, IsGuided);
        var secondContext = hires is null ? context : conditioning.Encode(request, IsGuided, hires.Steps);
        timings.Text += Stopwatch.GetElapsedTime(start);

        start = Stopwatch.GetTimestamp();
        var encoder = new PictureEncoder<T>(engine, model, request);
        var begin = picture?.Encode(encoder, model, cancellationToken);
        var kept = hires is null || request.Mask is null ? null : finalPicture?.Encode(encoder, model, cancellationToken);
        timings.Sampling += Stopwatch.GetElapsedTime(start);

        var values = model.VaeConfig.LatentChannels * finalSize.Rows * finalSize.Columns;
        var previews = new PreviewDecoder<T>(engine, model, request, decoder);
        foreach (var (first, count) in BatchPlan.Split(request.BatchCount, ChooseBatch(context, secondContext)))
        {
            start = Stopwatch.GetTimestamp();
            Report(GenerationStage.Sampling, first, 0, count);
            var latents = Sample(first, count);
            timings.Sampling += Stopwatch.GetElapsedTime(start);
            for (var i = 0; i < count; i++)
            {
                start = Stopwatch.GetTimestamp();
                Report(GenerationStage.Decoding, first + i, Steps);
                var pixels = decoder.Decode(latents.AsSpan(i * values, values), finalSize.Rows, finalSize.Columns, cancellationToken);
                pixels = finalPicture?.Finish(pixels) ?? pixels;
                timings.Decode += Stopwatch.GetElapsedTime(start);
                var seed = request.Seed + first + i;
                yield return new GeneratedImage(
                    finalSize.Columns * scale, finalSize.Rows * scale, pixels, seed,
                    SettingsText.Of(request, model, size.Columns * scale, size.Rows * scale, seed));
            }
        }

        float[] Sample(int first, int count)
        {
            var noise = new BatchNoise(
                request.NoiseGenerator, request.Seed + first, count, model.VaeConfig.LatentChannels * size.Rows * size.Columns);
            var run = new SamplingRun
            {
                Pictures = count,
                Context = context,
                Guidance = IsGuided ? request.GuidanceScale : null,
                Height = size.Rows,
                Width = size.Columns,
                Circular = request.Circular,
                Plan = plan,
                Draw = noise.Draw,
                AfterStep = step => Report(GenerationStage.Sampling, first, step, count),
                Watch = previews.Watch(
                    new(GenerationStage.Sampling, first, request.BatchCount, 0, Steps) { BatchSize = count }, progress, cancellationToken),
            };
            var latents = engine.Sample(begin?.Apply(run) ?? run, cancellationToken);
            if (hires is not null)
            {
                run = hires.Follow(run, hires.Enlarge(run, latents, decoder, encoder, cancellationToken), secondContext, request.Seed + first);
                latents = engine.Sample(kept?.Keep(run) ?? run, cancellationToken);
            }

            return latents;
        }

        void Report(GenerationStage stage, int image, int step, int batch = 1) =>
            progress?.Report(new GenerationProgress(stage, image, request.BatchCount, step, Steps) { BatchSize = batch });
    }

    /// <summary>How many pictures are drawn together.</summary>
    private int ChooseBatch(params StepContexts[] contexts)
    {
        var halves = IsGuided ? 2 : 1;
        var tokens = contexts.Max(c => c.Tokens(halves, model.TextConfig.Hidden));
        return BatchPlan.Choose(
            request.BatchCount, request.BatchSize, finalSize.Rows * finalSize.Columns, engine.IsProcessor, engine.ArenaBudget(ModelPart.UNet),
            pictures => engine.MeasureUNet(halves * pictures, finalSize.Rows, finalSize.Columns, request.Circular, tokens));
    }
}
