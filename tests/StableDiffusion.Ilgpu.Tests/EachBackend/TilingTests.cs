using StableDiffusion.Ilgpu.Compilation;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>Decoding and encoding in tiles with the bundled model: near to the whole, without seams, the same every time.</summary>
[Collection(SharedDevice.Name)]
public sealed class TilingTests(DeviceFixture fixture) : IDisposable
{
    /// <summary>
    /// Group norms see a tile and not the picture, so tones differ and no published value is right. A picture that is moved by one pixel of
    /// the latent tells a tile in the wrong place: tiled pictures must be nearer to the whole by this many decibels.
    /// </summary>
    private const double Decibels = 6;

    private readonly LoadedModel model = LoadedModel.Open(model: null);

    private static GenerationRequest Tiled => new() { Prompt = "", VaeTiling = true, VaeTileWidth = 8, VaeTileHeight = 8 };

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Tiles_give_nearly_the_whole_picture_and_no_seams(bool circular)
    {
        using var engine = Engine();
        var (height, width) = (16, 24);
        var latent = Mosaic(engine, height, width);
        var request = Tiled with { Circular = circular };
        var whole = Decode(engine, request with { VaeTiling = false }, latent, height, width);
        var tiled = Decode(engine, request, latent, height, width);
        var comparisons = new Comparisons();
        var moved = Floats([.. whole[(8 * 3)..], .. whole[..(8 * 3)]]).Zip(Floats(whole), (a, b) => Math.Pow(a - b, 2)).Average();
        comparisons.ComparePictures(
            $"tiled decoding, circular {circular}", Floats(tiled), Floats(whole),
            Decibels - (10 * Math.Log10(moved)));
        comparisons.Verify();
        Assert.Equal(tiled, Decode(engine, request, latent, height, width));

        // The difference from the whole must not jump more between pixels at the edges of tiles than elsewhere.
        var difference = tiled.Zip(whole, (a, b) => (double)a - b).ToArray();
        var jumps = Enumerable.Range(1, (width * 8) - 1).Select(x => Jump(difference, height * 8, width * 8, x)).ToArray();
        var edges = Enumerable.Range(1, (width * 8 / 32) - 1).Select(i => i * 32).ToHashSet();
        var (atEdges, elsewhere) = (edges.Max(x => jumps[x - 1]), jumps.Where((_, i) => !edges.Contains(i + 1)).Max());
        ReferenceData.Report($"largest jump at tiles' edges against elsewhere, circular {circular}", atEdges / elsewhere, 1);
    }

    [Fact]
    public void A_tile_that_covers_the_picture_is_the_picture()
    {
        using var engine = Engine();
        var latent = Mosaic(engine, 8, 8);
        var whole = Decode(engine, Tiled with { VaeTiling = false }, latent, 8, 8);
        Assert.Equal(whole, Decode(engine, Tiled, latent, 8, 8));
        Assert.Equal(whole, Decode(engine, Tiled with { VaeTileWidth = 100, VaeTileHeight = 9 }, latent, 8, 8));
        Assert.NotEqual(whole, Decode(engine, Tiled with { VaeTileWidth = 4 }, latent, 8, 8));
    }

    /// <summary>It is the picture's edges that join. Without an overlap a tile is what its part of the latent gives alone.</summary>
    [Fact]
    public void Tiles_of_a_circular_picture_have_edges_of_their_own()
    {
        using var engine = Engine();
        var latent = Mosaic(engine, 8, 16);
        var tiled = Decode(engine, Tiled with { Circular = true, VaeTileOverlap = 0 }, latent, 8, 16);
        var alone = Decode(engine, Tiled, [.. latent.Chunk(16).SelectMany(row => row.Take(8))], 8, 8);
        Assert.Equal(alone, tiled.Chunk(3 * 128).SelectMany(row => row.Take(3 * 64)));
    }

    /// <summary>Encoding is held to the same rule, on the means of the latents.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Tiles_give_nearly_the_whole_latent(bool circular)
    {
        using var engine = Engine();
        var (height, width) = (16, 24);
        var request = Tiled with { Circular = circular };
        var picture = new InputImage(8 * width, 8 * height, Decode(engine, request with { VaeTiling = false }, Mosaic(engine, height, width), height, width));
        var whole = Encode(engine, request with { VaeTiling = false }, picture);
        var tiled = Encode(engine, request, picture);
        Assert.NotEqual(whole.Mean.ToArray(), tiled.Mean.ToArray());
        Assert.Equal(whole.Moments.Length, tiled.Moments.Length);
        float[] moved = [.. whole.Mean[1..], whole.Mean[0]];
        var comparisons = new Comparisons();
        comparisons.Compare(
            $"tiled encoding, circular {circular}", tiled.Mean, whole.Mean,
            Comparisons.RelativeL2(moved, whole.Mean) * Math.Pow(10, -Decibels / 20));
        comparisons.Verify();
        Assert.Equal(tiled.Moments.ToArray(), Encode(engine, request, picture).Moments.ToArray());
        var covered = Encode(engine, request with { VaeTileWidth = width, VaeTileHeight = height }, picture);
        Assert.Equal(whole.Moments.ToArray(), covered.Moments.ToArray());
    }

    public void Dispose() => model.Dispose();

    private DiffusionEngine<ushort> Engine() => new(
        model, fixture.DeviceOf(new Backend(BackendProfile.Best, Half: true)), fixture.Kernels<ushort>(new Backend(BackendProfile.Best, Half: true)), FusionOptions.All);

    private byte[] Decode(DiffusionEngine<ushort> engine, GenerationRequest request, float[] latent, int height, int width) =>
        new LatentDecoder<ushort>(engine, model, request).Decode(latent, height, width, TestContext.Current.CancellationToken);

    private PictureLatent Encode(DiffusionEngine<ushort> engine, GenerationRequest request, InputImage picture) =>
        new PictureEncoder<ushort>(engine, model, request).Encode(picture, TestContext.Current.CancellationToken);

    /// <summary>Latents of the model's own pictures side by side.</summary>
    private float[] Mosaic(DiffusionEngine<ushort> engine, int height, int width)
    {
        var (size, channels) = (model.UNetConfig.SampleSize, model.VaeConfig.LatentChannels);
        var context = engine.Encode([.. model.Tokenize(""), .. model.Tokenize("a red apple")]);
        var latents = Enumerable.Range(0, height / size * (width / size)).Select(seed => engine.Sample(new SamplingRun
        {
            Context = new StepContexts(context),
            Guidance = 5,
            Height = size,
            Width = size,
            Plan = Samplers.DpmPlusPlus2M.Plan(model.Schedule, 8, Scheduler.Discrete),
            Draw = new BatchNoise(NoiseGenerator.Cuda, seed, 1, channels * size * size).Draw,
        })).ToArray();
        return [.. Enumerable.Range(0, channels * height * width).Select(i =>
        {
            var (c, y, x) = (i / (height * width), i / width % height, i % width);
            return latents[(y / size * (width / size)) + (x / size)][(((c * size) + (y % size)) * size) + (x % size)];
        })];
    }

    private static float[] Floats(byte[] bytes) => [.. bytes.Select(b => b / 255f)];

    /// <summary>The mean step between columns x - 1 and x.</summary>
    private static double Jump(double[] picture, int height, int width, int x) => Enumerable.Range(0, height)
        .SelectMany(y => Enumerable.Range(0, 3).Select(c => ((((y * width) + x) * 3) + c)).Select(i => picture[i] - picture[i - 3]))
        .Average(Math.Abs);
}
