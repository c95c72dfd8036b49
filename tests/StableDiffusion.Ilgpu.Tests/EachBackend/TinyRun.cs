using System.Text.Json;
using StableDiffusion.Ilgpu.Sampling;
using StableDiffusion.Ilgpu.Tests.NoDevice;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>A pipeline run of the reference's small checkpoints: prompts, noise, picture and mask as stored.</summary>
internal sealed class TinyRun
{
    private readonly string name;
    private readonly string run;
    private readonly JsonElement json;
    private readonly LoadedModel model;
    private readonly string initialNoise;
    private readonly string kind;
    private readonly int firstStep;

    public TinyRun(string name, string run, JsonElement json, Sampler sampler, LoadedModel model)
    {
        (this.name, this.run, this.json, this.model, kind) = (name, run, json, model, run.Split('.')[0]);
        Tensors = TinyModels.Tensors(name, "pipelines");
        var (scheduler, steps) = (json.GetProperty("scheduler"), json.GetProperty("steps").GetInt32());
        var strength = json.TryGetProperty("strength", out var given) && given.ValueKind == JsonValueKind.Number ? given.GetDouble() : 1;
        firstStep = PictureStart.FirstStep(steps, strength);
        Plan = sampler.Plan(NoiseSchedule.Parse(scheduler, run), steps, DiffusersSamplers.SchedulerOf(scheduler), firstStep);
        var scale = json.GetProperty("guidance_scale").GetDouble();
        Guidance = scale == 1 ? null : scale;
        initialNoise = Tensors.Has($"{run}.initial_noise") ? $"{run}.initial_noise" : "initial_noise";
        Shape = Tensors.Shape(initialNoise);
    }

    public TestTensors Tensors { get; }

    public SamplingPlan Plan { get; }

    public double? Guidance { get; }

    /// <summary>Of the latents: items, channels, height, width.</summary>
    public int[] Shape { get; }

    public bool HasPicture => Tensors.Has($"{kind}.input_image");

    /// <summary>Encodes prompts and picture with an engine, which the run then takes its steps with.</summary>
    public Walk<T> Start<T>(DiffusionEngine<T> engine) where T : unmanaged
    {
        float[][] contexts = [.. Contexts().Select(prompts => engine.Encode(
            ((string[])(Guidance is null ? [prompts.Positive] : [prompts.Negative, prompts.Positive])).SelectMany(model.Tokenize).ToArray()))];
        var input = $"{kind}.input_image";
        var picture = !HasPicture ? null : PictureStart.Create(
            values => engine.EncodePicture(
                values, Tensors.Shape(input)[2], Tensors.Shape(input)[3], cancellationToken: TestContext.Current.CancellationToken),
            model, Axes.ToChannelsLast(Tensors.Floats(input), Tensors.Shape(input)), Tensors.Has($"{kind}.mask") ? Tensors.Floats($"{kind}.mask") : null,
            Tensors.Shape(input)[2], Tensors.Shape(input)[3], firstStep, meanLatent: false);
        return new Walk<T>(this, engine, contexts, picture);
    }

    /// <summary>The prompts of each picture: the run's own, or those of the whole file.</summary>
    private IEnumerable<(string Negative, string Positive)> Contexts()
    {
        var all = TinyModels.Json(name, "pipelines");
        return Enumerable.Range(0, Shape[0]).Select(i => json.TryGetProperty("prompts", out var prompts)
            ? (json.GetProperty("negative")[i].GetString()!, prompts[i].GetString()!)
            : (all.GetProperty("negative_prompt").GetString()!, all.GetProperty("prompt").GetString()!));
    }

    /// <summary>The run with one engine; pictures one after the other, each with its own prompts and noise, as the pipeline makes a batch.</summary>
    internal sealed class Walk<T>(TinyRun tiny, DiffusionEngine<T> engine, float[][] contexts, PictureStart? picture) where T : unmanaged
    {
        public IReadOnlyList<float[]> Contexts => contexts;

        /// <summary>All latents after each step, channels first.</summary>
        public IReadOnlyList<float[]> Trajectory()
        {
            var items = contexts.Select(Trajectory).ToList();
            return [.. Enumerable.Range(0, tiny.Plan.Steps.Count).Select(step => (float[])[.. items.SelectMany(item => item[step])])];
        }

        /// <summary>Pictures of 0 … 1, channels last.</summary>
        public float[] Pictures(float[] latents)
        {
            var size = latents.Length / tiny.Shape[0];
            return [.. Enumerable.Range(0, tiny.Shape[0])
                .SelectMany(i => engine.Decode(latents.AsSpan(i * size, size), tiny.Shape[2], tiny.Shape[3]))
                .Select(v => Math.Clamp((v / 2) + 0.5f, 0, 1))];
        }

        private List<float[]> Trajectory(float[] context, int item)
        {
            var (steps, size) = (tiny.Plan.Steps, tiny.Shape[1] * tiny.Shape[2] * tiny.Shape[3]);
            var trajectory = new List<float[]>();

            // Without a picture the first noise has a name of its own. What a watch sees is scaled for the model.
            var draw = picture is null ? -1 : 0;
            var begin = new SamplingRun
            {
                Context = new StepContexts(context),
                Guidance = tiny.Guidance,
                Height = tiny.Shape[2],
                Width = tiny.Shape[3],
                Plan = tiny.Plan,
                Draw = () => draw++ < 0 ? tiny.Tensors.Floats(tiny.initialNoise)[(item * size)..((item + 1) * size)]
                    : tiny.Tensors.Floats($"{tiny.run}.noise.{draw - 1}")[(item * size)..((item + 1) * size)],
                Watch = new StepWatch(steps.Count, interval: 0, noisyInterval: 1, (_, done, _, noisy) =>
                {
                    if (done > 0)
                    {
                        trajectory.Add([.. noisy!.Select(x => (float)(x / steps[done].InputScale))]);
                    }
                }),
            };
            trajectory.Add(engine.Sample(picture?.Apply(begin) ?? begin));
            return trajectory;
        }
    }
}
