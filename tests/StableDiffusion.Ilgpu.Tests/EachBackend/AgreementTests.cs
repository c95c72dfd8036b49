using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Sampling;
using StableDiffusion.Ilgpu.Sampling.Noise;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>The same seed gives the same picture on every backend that this machine has.</summary>
[Collection(SharedDevice.Name)]
public sealed class AgreementTests(DeviceFixture fixture)
{
    /// <summary>Two backends round some sums differently; guided steps amplify it. What remains must not be seen: the project's own bar.</summary>
    private const double Decibels = 45;

    private const int LargestDifference = 3;

    private const int Steps = 10;

    [Fact]
    public void Backends_draw_the_same_picture()
    {
        using var model = LoadedModel.Open((string?)null);
        var comparisons = new Comparisons();
        byte[]? first = null;
        foreach (var backend in Backend.All.Where(b => b.Half))
        {
            var picture = Draw(model, backend);
            first ??= picture;
            comparisons.ComparePictures($"{backend} beside {Backend.All[0]}", Values(picture), Values(first), Decibels);
            comparisons.Report(
                $"{backend} beside {Backend.All[0]}, largest difference", picture.Zip(first, (a, b) => Math.Abs(a - b)).Max(), LargestDifference);
        }

        Assert.True(first!.Distinct().Count() > 50, "the picture is all one colour");
        foreach (var missing in Backend.LeftOut)
        {
            ReferenceData.LeaveOut("agreement", missing);
        }

        comparisons.Verify();
    }

    [Theory]
    [MemberData(nameof(HalfNames))]
    public void A_picture_is_the_same_bit_by_bit_when_drawn_again(string name)
    {
        using var model = LoadedModel.Open((string?)null);
        var backend = Backend.Find(name);
        Assert.Equal(Draw(model, backend), Draw(model, backend));
    }

    public static IEnumerable<TheoryDataRow<string>> HalfNames => Backend.BestNames.Where(n => Backend.Find(n).Half).Select(n => new TheoryDataRow<string>(n));

    private byte[] Draw(LoadedModel model, Backend backend)
    {
        using var engine = new DiffusionEngine<ushort>(model, fixture.DeviceOf(backend), fixture.Kernels<ushort>(backend), FusionOptions.All);
        var context = engine.Encode([.. model.Tokenize(""), .. model.Tokenize("a red apple")]);
        var size = model.UNetConfig.SampleSize;
        var noise = new BatchNoise(NoiseGenerator.Cuda, 42, 1, model.VaeConfig.LatentChannels * size * size);
        var latents = engine.Sample(new SamplingRun
        {
            Pictures = 1,
            Context = new StepContexts(context),
            Guidance = 7.5,
            Height = size,
            Width = size,
            Plan = Samplers.Find("euler").Plan(model.Schedule, Steps, Scheduler.Discrete),
            Draw = noise.Draw,
        });
        return engine.DecodeToBytes(latents, size, size);
    }

    private static float[] Values(byte[] picture) => [.. picture.Select(b => b / 255f)];
}
