using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>A pipeline as programs with several threads use it: called side by side, by its own watchers, and disposed meanwhile.</summary>
public sealed class PipelineUseTests
{
    private static readonly GenerationRequest Request = new() { Prompt = "an apple", Steps = 3, Width = 32, Height = 32, BatchCount = 2, BatchSize = 1 };

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public void Threads_get_the_pictures_that_they_would_get_alone()
    {
        using var pipeline = Load();
        GenerationRequest[] requests = [.. Enumerable.Range(0, 12).Select(i => Request with { Prompt = $"{i} apples", Seed = i, Width = 16 + (8 * (i % 3)) })];
        byte[][] alone = [.. requests.Select(r => Bytes(pipeline.Generate(r, cancellationToken: Cancellation)))];
        var together = new byte[requests.Length][];
        var threads = requests.Select((r, i) => new Thread(() => together[i] = Bytes(pipeline.GenerateEach(r, cancellationToken: Cancellation)))).ToList();
        threads.ForEach(t => t.Start());
        threads.ForEach(t => t.Join());
        Assert.Equal(alone, together);
    }

    [Fact]
    public async Task Waiting_for_a_turn_can_be_cancelled()
    {
        using var pipeline = Load();
        using var drawing = new ManualResetEventSlim();
        using var waited = new ManualResetEventSlim();
        var first = Task.Run(
            () => Bytes(pipeline.Generate(Request, new Watcher(_ => { drawing.Set(); waited.Wait(Cancellation); }), Cancellation)), Cancellation);
        drawing.Wait(Cancellation);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        var second = Task.Run(() => pipeline.Generate(Request, cancellationToken: stop.Token), Cancellation);
        await stop.CancelAsync();
        var e = await Assert.ThrowsAsync<OperationCanceledException>(() => second);
        Assert.Equal(stop.Token, e.CancellationToken);
        waited.Set();
        Assert.Equal(Bytes(pipeline.Generate(Request, cancellationToken: Cancellation)), await first);
    }

    /// <summary>It would draw in the memory that the watched run has its numbers in.</summary>
    [Fact]
    public void A_watcher_cannot_draw()
    {
        using var pipeline = Load();
        var expected = Bytes(pipeline.Generate(Request, cancellationToken: Cancellation));
        var watched = pipeline.Generate(
            Request, new Watcher(_ => Assert.Throws<InvalidOperationException>(() => pipeline.Generate(Request, cancellationToken: Cancellation))), Cancellation);
        Assert.Equal(expected, Bytes(watched));
    }

    [Fact]
    public void What_a_watcher_throws_comes_out_and_the_pipeline_goes_on()
    {
        using var pipeline = Load();
        var request = Request with { PreviewInterval = 1, NoisyPreviewInterval = 1 };
        var reports = 0;
        var expected = Bytes(pipeline.Generate(request, new Watcher(_ => reports++), Cancellation));
        for (var last = 0; last < reports; last++)
        {
            var left = last;
            Assert.Throws<TimeZoneNotFoundException>(
                () => pipeline.Generate(request, new Watcher(_ => { if (left-- == 0) { throw new TimeZoneNotFoundException(); } }), Cancellation));
            Assert.Equal(expected, Bytes(pipeline.Generate(request, cancellationToken: Cancellation)));
        }
    }

    /// <summary>Before a picture is asked for, let alone drawn: also what counts only in the settings that it would carry.</summary>
    [Fact]
    public void What_a_model_cannot_follow_is_told_when_it_is_called()
    {
        using var pipeline = Load();
        foreach (var wrong in new[]
        {
            Request with { ClipSkip = 99 },
            Request with { Prompt = "<lora:none:1>" },
            Request with { NegativePrompt = "<lora:none:1>" },
            Request with { NegativePrompt = "<lora:none:1>", GuidanceScale = 1 },
        })
        {
            Assert.Throws<StableDiffusionException>(() => pipeline.GenerateEach(wrong, cancellationToken: Cancellation));
        }
    }

    [Fact]
    public void Between_two_pictures_others_can_be_drawn()
    {
        using var pipeline = Load();
        var expected = Bytes(pipeline.Generate(Request, cancellationToken: Cancellation));
        var other = Request with { Prompt = "a house", Width = 64 };
        var between = pipeline.GenerateEach(Request, cancellationToken: Cancellation).Select(image =>
        {
            pipeline.Generate(other, cancellationToken: Cancellation);
            return image;
        });
        Assert.Equal(expected, Bytes(between));
    }

    [Fact]
    public async Task Disposing_stops_what_is_drawn_and_what_waits()
    {
        var pipeline = Load();
        using var drawing = new ManualResetEventSlim();
        var endless = Request with { Steps = 900, Width = 128, Height = 128 };
        Task[] tasks = [.. Enumerable.Range(0, 3).Select(_ => Task.Run(
            () => pipeline.Generate(endless, new Watcher(p => { if (p.Step > 0) { drawing.Set(); } }), Cancellation), Cancellation))];
        drawing.Wait(Cancellation);
        pipeline.Dispose();
        foreach (var task in tasks)
        {
            var e = await Assert.ThrowsAsync<ObjectDisposedException>(() => task);
            Assert.Equal(typeof(StableDiffusionPipeline).FullName, e.ObjectName);
        }

        pipeline.Dispose();
    }

    [Fact]
    public void A_watcher_may_dispose()
    {
        var pipeline = Load();
        Assert.Throws<ObjectDisposedException>(() => pipeline.Generate(Request, new Watcher(_ => pipeline.Dispose()), Cancellation));
        Assert.Throws<ObjectDisposedException>(() => pipeline.Generate(Request, cancellationToken: Cancellation));
    }

    [Fact]
    public void Pictures_that_were_not_asked_for_yet_go_with_their_pipeline()
    {
        var pipeline = Load();
        using var images = pipeline.GenerateEach(Request, cancellationToken: Cancellation).GetEnumerator();
        Assert.True(images.MoveNext());
        pipeline.Dispose();
        var e = Assert.Throws<ObjectDisposedException>(() => images.MoveNext());
        Assert.Equal(typeof(StableDiffusionPipeline).FullName, e.ObjectName);
    }

    [Fact]
    public void Cancelled_loading_tells_whose_token_it_was()
    {
        using var stop = new CancellationTokenSource();
        stop.Cancel();
        var e = Assert.ThrowsAny<OperationCanceledException>(() => StableDiffusionPipeline.Load(model: null, ComputeDevice.Processor, stop.Token));
        Assert.Equal(stop.Token, e.CancellationToken);
    }

    [Fact]
    public void A_pictures_memory_is_all_there_before_its_steps()
    {
        using var pipeline = Load();
        List<long> arenas = [];
        pipeline.Generate(
            new GenerationRequest { Prompt = "an apple", Steps = 1 },
            new Watcher(p => arenas.Add(p.Stage == GenerationStage.Text ? 0 : pipeline.ArenaBytes)), Cancellation);
        Assert.Equal([0, pipeline.ArenaBytes], arenas.Distinct());
    }

    private static StableDiffusionPipeline Load() => StableDiffusionPipeline.Load(model: null, ComputeDevice.Processor, Cancellation);

    private static byte[] Bytes(IEnumerable<GeneratedImage> images) => [.. images.SelectMany(i => i.Pixels.ToArray())];

    private sealed class Watcher(Action<GenerationProgress> action) : IProgress<GenerationProgress>
    {
        public void Report(GenerationProgress value) => action(value);
    }
}
